#include "cli/chat_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "cli/chat_file.h"
#include "cli/interrupt.h"
#include "core/error.h"

namespace salient::cli {

namespace {

int64_t count_words(const std::string& text) {
  int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    words += !space && !inside;
    inside = !space;
  }
  return words;
}

void print_speed(const Reply& reply) {
  const double seconds = reply.prompt_seconds + reply.generate_seconds;
  fmt::print(stderr, "[{} tokens, {:.1f} tokens/s, {:.1f} words/s; prompt {} tokens, {} of them known, {:.2f} s{}{}]\n",
             reply.ids.size(), reply.tokens_per_second(), static_cast<double>(count_words(reply.text)) / seconds,
             reply.prompt_tokens, reply.cached_tokens, reply.prompt_seconds, describe_drafts(reply),
             reply.finish == FinishReason::kStop ? "" : fmt::format("; {}", name_of(reply.finish)));
}

void need(const std::string& argument, const char* command, const char* what) {
  if (argument.empty()) core::fail(core::ErrorKind::kInvalidInput, "{} needs {}", command, what);
}

}  // namespace

const std::vector<ChatSession::Command>& ChatSession::commands() {
  static const std::vector<Command> list = {
      {"/help", "", "this list", &ChatSession::show_help},
      {"/model", "[NAME]", "say which model it is, or go on with another", &ChatSession::use_model},
      {"/system", "[TEXT]", "say what the system message is, or give another", &ChatSession::use_system},
      {"/reset", "", "forget the conversation", &ChatSession::forget},
      {"/save", "FILE", "write the conversation into a file", &ChatSession::save},
      {"/load", "FILE", "go on with a conversation from a file", &ChatSession::load},
      {"/stats", "", "what the replies so far were and cost", &ChatSession::show_stats},
      {"/exit", "", "end; so does Ctrl-D", &ChatSession::end},
  };
  return list;
}

ChatSession::ChatSession(const ReplyFlags& flags)
    : options_(flags.options), config_(flags.finished_config()), system_(flags.system) {
  config_.check();
  open(flags.model);
}

/// The model before stays until the other is there.
void ChatSession::open(const ModelName& name) {
  Model model(name, options_, show_on_terminal(Interrupt().token()));
  model.chat_template();  // says what is wrong with a model that cannot chat
  generator_.emplace(model, config_);
  model_ = std::move(model);
  model_name_ = name.string();
}

bool ChatSession::take(const std::string& input, bool may_be_command) {
  try {
    if (may_be_command && input.starts_with('/')) {
      run_command(input);
    } else if (!input.empty()) {
      say(input);
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kDeviceLost) throw;
    // A conversation that has outgrown the context, say: the turn is dropped and the chat goes on.
    fmt::print(stderr, "salient: {}\n", error.what());
  }
  return !has_ended_;
}

void ChatSession::run_command(const std::string& line) {
  const size_t end = std::min(line.find_first_of(" \t\n"), line.size());
  const size_t first = std::min(line.find_first_not_of(" \t\n", end), line.size());
  const size_t last = line.find_last_not_of(" \t\n");
  const std::string argument = line.substr(first, last + 1 - std::min(first, last + 1));
  for (const Command& command : commands()) {
    if (line.substr(0, end) != command.name) continue;
    if (*command.argument == '\0' && !argument.empty()) {
      core::fail(core::ErrorKind::kInvalidInput, "{} takes nothing behind it", command.name);
    }
    return (this->*command.run)(argument);
  }
  fmt::print(stderr, "There is no command {}; there are:\n", line.substr(0, end));
  show_help({});
}

void ChatSession::say(const std::string& text) {
  std::vector<Message> turns = messages_;
  if (!system_.empty()) turns.insert(turns.begin(), {"system", system_});
  turns.push_back({"user", text});
  const Interrupt interrupt;
  const std::vector<int32_t> prompt = model_->tokenizer().encode(model_->chat_template().render(turns), false);
  const Reply reply = generator_->reply(
      prompt,
      [](std::string_view piece) {
        fmt::print("{}", piece);
        std::fflush(stdout);
      },
      interrupt.token());
  fmt::print("\n");
  std::fflush(stdout);
  print_speed(reply);
  messages_.push_back({"user", text});
  messages_.push_back({"assistant", reply.text});
  replies_.push_back(reply);
}

void ChatSession::show_help(const std::string&) {
  for (const Command& command : commands()) {
    fmt::print(stderr, "  {:<16} {}\n", fmt::format("{} {}", command.name, command.argument), command.help);
  }
  fmt::print(stderr, "A message of several lines begins and ends with \"\"\". Ctrl-C stops a reply.\n");
}

void ChatSession::forget(const std::string&) {
  messages_.clear();
}

void ChatSession::use_model(const std::string& argument) {
  if (!argument.empty()) return open(argument);  // which says what it has opened
  fmt::print(stderr, "{}\n", model_->summary());
}

void ChatSession::use_system(const std::string& argument) {
  if (!argument.empty()) system_ = argument;
  fmt::print(stderr, "{}\n", system_.empty() ? "There is no system message." : system_);
}

void ChatSession::save(const std::string& argument) {
  need(argument, "/save", "the name of a file");
  ChatFile chat{model_name_, messages_};
  if (!system_.empty()) chat.messages.insert(chat.messages.begin(), {"system", system_});
  write_chat_file(argument, chat);
  fmt::print(stderr, "{}: {} messages\n", argument, chat.messages.size());
}

void ChatSession::load(const std::string& argument) {
  need(argument, "/load", "the name of a file");
  ChatFile chat = read_chat_file(argument);
  const size_t size = chat.messages.size();
  system_.clear();
  if (!chat.messages.empty() && chat.messages.front().role == "system") {
    system_ = chat.messages.front().content;
    chat.messages.erase(chat.messages.begin());
  }
  messages_ = std::move(chat.messages);
  fmt::print(stderr, "{}: {} messages, the last written with {}\n", argument, size, chat.model);
}

void ChatSession::show_stats(const std::string&) {
  int64_t read = 0;
  int64_t known = 0;
  int64_t written = 0;
  int64_t timed = 0;
  double prompt_seconds = 0;
  double seconds = 0;
  for (const Reply& reply : replies_) {
    read += reply.prompt_tokens - reply.cached_tokens;
    known += reply.cached_tokens;
    written += std::ssize(reply.ids);
    timed += std::max<int64_t>(std::ssize(reply.ids) - 1, 0);
    prompt_seconds += reply.prompt_seconds;
    seconds += reply.generate_seconds;
  }
  const int64_t length = replies_.empty() ? 0 : replies_.back().prompt_tokens + std::ssize(replies_.back().ids);
  const int64_t most = config_.context > 0 ? config_.context : model_->context_length();
  fmt::print(stderr, "model    {}\n", model_->summary());
  fmt::print(stderr, "context  {} of {} tokens after the last reply\n", length, most);
  fmt::print(stderr, "replies  {}, of {} tokens, at {:.1f} tokens/s\n", replies_.size(), written,
             seconds > 0 ? static_cast<double>(timed) / seconds : 0);
  fmt::print(stderr, "prompts  {} tokens read in {:.2f} s, {} were known\n", read, prompt_seconds, known);
}

void ChatSession::end(const std::string&) {
  has_ended_ = true;
}

}  // namespace salient::cli
