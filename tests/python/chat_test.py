"""The command chat, in a terminal of its own and through a pipe."""

import json
import os
import pty
import re
import select
import signal
import stat
import tempfile
import time

import program
import tiny_model

HELP = ["/help", "/model", "/system", "/reset", "/save", "/load", "/stats", "/exit"]


class Terminal:
    """A chat in a terminal of its own."""

    def __init__(self, *arguments, env=None):
        self.process, self.screen = pty.fork()
        if self.process == 0:
            environment = {**program.environment(**(env or {})), "TERM": "xterm"}
            os.execve(program.PROGRAM, [str(program.PROGRAM), "chat", *map(str, arguments)], environment)
        self.written = b""

    @property
    def text(self):
        """What was written since the last line was typed, without what moves the cursor or colours."""
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>])", "", self.written.decode(errors="replace"))

    def type(self, text):
        self.written = b""
        os.write(self.screen, text.encode())

    def read(self, seconds=0.1):
        if not select.select([self.screen], [], [], seconds)[0]:
            return
        try:
            self.written += os.read(self.screen, 65536)
        except OSError:  # the other side is closed
            time.sleep(seconds)

    def wait_for(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            if time.monotonic() > end:
                raise AssertionError(f"{pattern} did not come; there is: {self.text!r}")
            self.read()
        return re.search(pattern, self.text)

    def end(self, seconds=30):
        """The exit code; negative is a signal."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            pid, status = os.waitpid(self.process, os.WNOHANG)
            if pid:
                os.close(self.screen)
                return os.waitstatus_to_exitcode(status)
            self.read()
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        raise AssertionError(f"the program did not end; there is: {self.text!r}")


class ChatTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # No token ends its replies, and its context takes far longer to fill than any test waits.
        cls.model = tiny_model.write_model(cls.folder / "model", max_position_embeddings=1000000)
        cls.other = tiny_model.write_model(cls.folder / "other", seed=1)

    def chat(self, text, *arguments, **options):
        return self.run_well("chat", self.model, "--max-tokens", 4, "--temperature", 0, *arguments, input=text, **options)


class TerminalTest(ChatTest):
    def test_a_reply_streams_until_ctrl_c_and_the_chat_goes_on(self):
        terminal = Terminal(self.model)
        terminal.wait_for("\n> $")
        for message in ("hello", "again"):
            terminal.type(message + "\n")
            terminal.wait_for(r"\n[a-z ]{50}")
            terminal.type("\x03")
            terminal.wait_for(r"; cancelled\]\r\n\r\n> $")
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_reset_forgets_and_ctrl_d_ends(self):
        terminal = Terminal(self.model, "--max-tokens", "8")
        turn = r"\[8 tokens, .* prompt (\d+) tokens, (\d+) of them known, .*length\]\r\n\r\n> $"
        terminal.wait_for("\n> $")
        terminal.type("one\n")
        first = terminal.wait_for(turn)
        self.assertEqual(first.groups(), (str(len("user: one\nassistant:")), "0"))
        terminal.type("two\n")
        second = terminal.wait_for(turn)
        # The template puts the reply behind "assistant: ", with a space the first prompt did not have.
        self.assertEqual(int(second[1]), len("user: one\nassistant: 12345678\nuser: two\nassistant:"))
        self.assertGreaterEqual(int(second[2]), len("user: one\nassistant:"))
        terminal.type("/reset\n")
        terminal.wait_for("> $")
        terminal.type("one\n")
        self.assertEqual(terminal.wait_for(turn)[1], first[1])
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_ctrl_c_where_nothing_is_written_ends_the_program(self):
        terminal = Terminal(self.model)
        terminal.wait_for("\n> $")
        terminal.type("\x03")
        self.assertEqual(terminal.end(), -signal.SIGINT)

    def test_a_line_can_be_edited(self):
        terminal = Terminal(self.model, "--max-tokens", "4", env={"LC_ALL": "C"})
        terminal.wait_for("\n> $")
        # "grübe" with its last letter taken back, the rest typed, and a letter put in front.
        terminal.type("grübe\x7fßt\x01 \x01.\x05!\n")
        size = len("user: . grübßt!\nassistant:".encode())
        terminal.wait_for(rf"prompt {size} tokens.*\r\n\r\n> $")
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_lines_of_earlier_chats_come_back(self):
        with tempfile.TemporaryDirectory() as folder:
            history = os.path.join(folder, "data", "typed")
            up = "\x1b[A"
            for message, tokens in (("first line", 10), (up, 10), (up + up + "s", 11)):
                terminal = Terminal(self.model, "--max-tokens", "4", "--history", history)
                terminal.wait_for("\n> $")
                terminal.type(message + "\n")
                terminal.wait_for(rf"prompt {len('user: assistant:') + 1 + tokens} tokens.*\r\n\r\n> $")
                self.assertEqual(stat.S_IMODE(os.stat(history).st_mode), 0o600)
                # The program is killed: what was typed is kept all the same.
                os.kill(terminal.process, signal.SIGKILL)
                self.assertEqual(terminal.end(), -signal.SIGKILL)

    def test_without_a_place_for_it_a_chat_goes_on_without_history(self):
        terminal = Terminal(self.model, "--max-tokens", "4", "--history", "/proc/nowhere/typed")
        terminal.wait_for("\n> $")
        terminal.type("one\n")
        terminal.wait_for(r"salient: /proc/nowhere/typed cannot be written(.|\n)*\[4 tokens(.|\n)*\n> $")
        terminal.type("two\n")
        terminal.wait_for(r"\[4 tokens(.|\n)*\n> $")
        self.assertNotIn("cannot be written", terminal.text)
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)


class PipeTest(ChatTest):
    def test_a_conversation_that_outgrows_the_context_loses_the_turn_only(self):
        result = self.chat("one\n" + "long " * 10 + "\n/reset\ntwo\n/exit\nnever\n", "--context", "40")
        self.assertRegex(result.stderr, r"salient: the prompt has \d+ tokens, but the context holds 40")
        self.assertEqual(result.stderr.count("[4 tokens"), 2)

    def test_a_message_may_have_several_lines(self):
        for text, message in [('"""one\n two\nthree"""\n', "one\n two\nthree"), ('"""\none\n\ntwo\n"""\n', "one\n\ntwo"),
                              ('"""one"""\n', "one"), ('"""/help\n"""\n', "/help")]:
            result = self.chat(text)
            self.assertIn(f"prompt {len(f'user: {message}') + len('assistant:') + 1} tokens", result.stderr, text)

    def test_unknown_commands_give_the_list(self):
        result = self.chat("/fly\n/help\n/reset now\n")
        self.assertIn("There is no command /fly; there are:", result.stderr)
        for command in HELP:
            self.assertEqual(len(re.findall(rf"^  {command} ", result.stderr, re.MULTILINE)), 2, command)
        self.assertIn("salient: /reset takes nothing behind it", result.stderr)
        self.assertNotIn("tokens/s", result.stderr)

    def test_the_system_message_can_be_changed(self):
        result = self.chat("/system\n/system Be  kind.\none\n/system\n")
        self.assertIn("There is no system message.", result.stderr)
        self.assertEqual(result.stderr.count("Be  kind.\n"), 2)
        self.assertIn(f"prompt {len('system: Be  kind. user: one assistant:')} tokens", result.stderr)

    def test_another_model_goes_on_with_the_conversation(self):
        result = self.chat(f"one\n/model {self.other}\ntwo\n/model {self.folder}/nowhere\nthree\n/model\n")
        replies = [line for line in result.stdout.splitlines() if line]
        self.assertEqual(len(replies), 3)
        self.assertIn("nowhere", result.stderr)
        turns = f"user: one\nassistant: {replies[0]}\nuser: two\nassistant:"
        alone = self.run_well("generate", self.other, "--prompt", turns, "--max-tokens", 4, "--temperature", 0, "--json")
        self.assertEqual(json.loads(alone.stdout)["text"], replies[1])
        self.assertEqual(result.stderr.count(f"{self.other}: "), 2, "the one that cannot be opened changes nothing")

    def test_a_conversation_is_saved_and_loaded(self):
        file = self.folder / "talk.json"
        first = self.chat(f"/system Be kind.\none\n/save {file}\ntwo\n/save {file}\n")
        replies = [line for line in first.stdout.splitlines() if line]
        saved = json.loads(file.read_text())
        self.assertEqual(saved["model"], str(self.model))
        self.assertEqual(saved["messages"], [
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "one"},
            {"role": "assistant", "content": replies[0]}, {"role": "user", "content": "two"},
            {"role": "assistant", "content": replies[1]}])
        third = self.chat(f"/system Be kind.\none\ntwo\nthree\n").stdout.splitlines()
        resumed = self.chat(f"never said\n/load {file}\n/system\nthree\n")
        self.assertIn(f"{file}: 5 messages, the last written with {self.model}", resumed.stderr)
        self.assertIn("Be kind.\n", resumed.stderr)
        self.assertEqual([line for line in resumed.stdout.splitlines() if line][-1], third[-1] or third[-2])

    def test_files_that_are_no_conversations(self):
        for text, words in [("[]", "is no conversation"), ("{", "is no conversation"),
                            ('{"messages": []}', "strange: model is missing"),
                            ('{"model": "a", "messages": [{"role": "king", "content": ""}]}', 'messages[0].role is "king"'),
                            ('{"model": "a", "messages": [{"role": "user", "content": 1}]}', "messages[0].content"),
                            ('{"model": "a", "messages": [7]}', "messages[0]")]:
            file = self.folder / "strange"
            file.write_text(text)
            result = self.chat(f"/load {file}\n/save {file}\n/load {self.folder}/nowhere\n/load {self.folder}\n/save\n"
                               f"/save {self.folder}/no/such/folder\n")
            self.assertEqual(result.stderr.count("salient: "), 6, result.stderr)
            self.assertEqual(result.stderr.count(words), 2, result.stderr)
            self.assertEqual(file.read_text(), text, "what is no conversation is not overwritten")

    def test_stats_count_what_was_said(self):
        result = self.chat("/stats\none\ntwo\n/stats\n")
        before, after = result.stderr.split("replies  ")[1:]
        self.assertTrue(before.startswith("0, of 0 tokens"))
        self.assertTrue(after.startswith("2, of 8 tokens"), after)
        length = len("user: one\nassistant: 1234\nuser: two\nassistant:") + 4
        self.assertIn(f"context  {length} of 1000000 tokens", result.stderr)


if __name__ == "__main__":
    program.main()
