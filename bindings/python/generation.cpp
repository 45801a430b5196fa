#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string_view.h>

#include <functional>
#include <string>
#include <utility>

#include "python/module.h"

namespace salient::python {

namespace {

using Ids = Numbers<int32_t>;

/// An object as JSON text, by Python's own json.
std::string to_json(nb::handle object) {
  return nb::cast<std::string>(nb::module_::import_("json").attr("dumps")(object));
}

/// The configuration of keyword arguments: its numbers by their names, stop, logit_bias, end_tokens, and a grammar.
GenerationConfig make_config(const nb::kwargs& options) {
  GenerationConfig config;
  for (const auto& [key, value] : options) {
    const auto name = nb::cast<std::string>(key);
    if (name == "stop") {
      config.stop_strings = nb::isinstance<nb::str>(value) ? std::vector{nb::cast<std::string>(value)}
                                                           : nb::cast<std::vector<std::string>>(value);
    } else if (name == "logit_bias") {
      for (const auto& [token, bias] : nb::cast<nb::dict>(value)) {
        config.logit_bias[nb::cast<int32_t>(token)] = nb::cast<float>(bias);
      }
    } else if (name == "end_tokens") {
      config.end_tokens = nb::cast<std::vector<int32_t>>(value);
    } else if (name == "json_schema") {
      config.grammar = {name, nb::isinstance<nb::str>(value) ? nb::cast<std::string>(value) : to_json(value)};
    } else if (name == "regex" || name == "lark") {
      config.grammar = {name, nb::cast<std::string>(value)};
    } else {
      config.set(name, nb::cast<double>(value));
    }
  }
  return config;
}

nb::list to_list(const std::vector<LogProbability>& tokens) {
  nb::list list;
  for (const LogProbability& token : tokens) list.append(nb::make_tuple(token.id, token.value));
  return list;
}

/// A piece callback that Ctrl-C and Python's exceptions end.
PieceCallback make_piece_callback(const nb::object& on_piece) {
  if (on_piece.is_none()) return {};
  return [on_piece](std::string_view piece) {
    const nb::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    on_piece(nb::str(piece.data(), piece.size()));
  };
}

std::stop_token token_of(const Cancel* cancel) {
  return cancel ? cancel->token() : std::stop_token();
}

Token next_token(Generator& generator) {
  const nb::gil_scoped_release unlocked;
  return generator.next_token();
}

void add_text(nb::module_& module) {
  nb::class_<Tokenizer>(module, "Tokenizer", "Text to token ids and back. Several threads may use it at once.")
      .def(
          "encode",
          [](const Tokenizer& tokenizer, std::string_view text, bool add_special_tokens) {
            return to_array(tokenizer.encode(text, add_special_tokens));
          },
          nb::arg("text"), nb::arg("add_special_tokens") = true, "Token ids, int32.")
      .def(
          "decode",
          [](const Tokenizer& tokenizer, nb::object ids, bool skip_special_tokens) {
            return tokenizer.decode(Ids(ids, "ids").span(), skip_special_tokens);
          },
          nb::arg("ids"), nb::arg("skip_special_tokens") = true)
      .def("id_of", &Tokenizer::id_of, nb::arg("token"), "The id of a token's exact spelling, or None.")
      .def_prop_ro("vocab_size", &Tokenizer::vocab_size, "One more than the highest id.");

  nb::class_<TokenStream>(module, "TokenStream", "Decodes a text token by token; no piece ends inside a character.")
      .def(nb::init<const Tokenizer&, bool>(), nb::arg("tokenizer"), nb::arg("skip_special_tokens") = true)
      .def("push", &TokenStream::push, nb::arg("id"), "The text that this token completes.")
      .def("finish", &TokenStream::finish, "What is left when the text ends inside a character.");

  nb::class_<ChatTemplate>(module, "ChatTemplate", "A chat template, rendered as transformers does it.")
      .def(nb::init<const Model&, const std::string&>(), nb::arg("model"), nb::arg("source"))
      .def(
          "render",
          [](const ChatTemplate& chat, nb::object messages, nb::object tools, bool add_generation_prompt) {
            return chat.render_json(to_json(messages), tools.is_none() ? "" : to_json(tools), add_generation_prompt);
          },
          nb::arg("messages"), nb::arg("tools") = nb::none(), nb::arg("add_generation_prompt") = true,
          "The prompt of a list of {\"role\", \"content\"}; encode it without adding special tokens.");
}

void add_model(nb::module_& module) {
  nb::class_<Model>(module, "Model", "A model ready to run. Several threads may use it at once.")
      .def(
          "__init__",
          [](Model* self, const ModelName& name, int threads, const std::string& head, const std::string& kv_cache,
             const std::string& device, nb::object on_progress, nb::object on_message, const Cancel* cancel) {
            const Monitor monitor = make_monitor(std::move(on_progress), std::move(on_message), cancel);
            const nb::gil_scoped_release unlocked;
            new (self) Model(name, {threads, head, kv_cache, device}, monitor);
          },
          nb::arg("name"), nb::arg("threads") = 0, nb::arg("head") = "fp16", nb::arg("kv_cache") = "fp16",
          nb::arg("device") = "cpu", nb::arg("on_progress") = nb::none(), nb::arg("on_message") = nb::none(),
          nb::arg("cancel") = nb::none(),
          "Opens a folder, a GGUF file or a name on the hub. on_progress(task, done, total, unit) and "
          "on_message(line) are called while it loads.")
      .def_prop_ro("path", &Model::path)
      .def_prop_ro("format", &Model::format)
      .def_prop_ro("family", &Model::family)
      .def_prop_ro("arithmetic", &Model::arithmetic, "\"int4 in groups of 128, int8 activations\"")
      .def_prop_ro("device", &Model::device, "What it runs on: \"cpu\", \"gpu:0\", \"webgpu\".")
      .def_prop_ro("summary", &Model::summary, "One line: what runs, with which instructions, on how many threads.")
      .def_prop_ro("vocab_size", &Model::vocab_size)
      .def_prop_ro("context_length", &Model::context_length)
      .def_prop_ro("end_tokens", &Model::end_tokens, "Ids that end a reply.")
      .def_prop_ro("begin_token", &Model::begin_token, "The id that texts begin with, or None.")
      .def_prop_ro("tokenizer", &Model::tokenizer)
      .def_prop_ro("chat_template", &Model::chat_template)
      .def("__repr__", [](const Model& model) { return "<salient.Model " + model.path().string() + ">"; });
}

void add_results(nb::module_& module) {
  nb::class_<Token>(module, "Token", "A token of a reply.")
      .def_ro("id", &Token::id)
      .def_ro("text", &Token::text, "The text that is certain with it.")
      .def_ro("ends_reply", &Token::ends_reply, "Whether it is an end token, which is no part of the reply.")
      .def_ro("log_probability", &Token::log_probability)
      .def_prop_ro(
          "top_log_probabilities", [](const Token& token) { return to_list(token.top_log_probabilities); },
          "Pairs of id and log probability, most likely first.")
      .def("__repr__", [](const Token& token) {
        return "<salient.Token " + std::to_string(token.id) + " " +
               nb::cast<std::string>(nb::repr(nb::str(token.text.c_str(), token.text.size()))) + ">";
      });

  nb::class_<Reply>(module, "Reply", "What a reply was and what it cost.")
      .def_ro("text", &Reply::text)
      .def_prop_ro(
          "ids", [](const Reply& reply) { return to_array(reply.ids); }, nb::rv_policy::automatic,
          "int32, without the token that ended it.")
      .def_prop_ro(
          "finish_reason", [](const Reply& reply) { return name_of(reply.finish); },
          "\"stop\", \"length\" or \"cancelled\"")
      .def_ro("prompt_tokens", &Reply::prompt_tokens)
      .def_ro("cached_tokens", &Reply::cached_tokens, "Of the prompt, known from the text before.")
      .def_ro("drafted_tokens", &Reply::drafted_tokens)
      .def_ro("accepted_tokens", &Reply::accepted_tokens)
      .def_ro("prompt_seconds", &Reply::prompt_seconds)
      .def_ro("generate_seconds", &Reply::generate_seconds)
      .def_prop_ro("tokens_per_second", &Reply::tokens_per_second)
      .def_prop_ro(
          "log_probabilities", [](const Reply& reply) { return to_array(reply.log_probabilities); },
          nb::rv_policy::automatic)
      .def_prop_ro("top_log_probabilities",
                   [](const Reply& reply) {
                     nb::list list;
                     for (const auto& tokens : reply.top_log_probabilities) list.append(to_list(tokens));
                     return list;
                   })
      .def("__repr__", [](const Reply& reply) {
        return "<salient.Reply of " + std::to_string(reply.ids.size()) + " tokens, " + name_of(reply.finish) + ">";
      });
}

void add_generator(nb::module_& module) {
  nb::class_<Generator>(module, "Generator",
                        "One text of a model, for one thread at a time. Iterating over it gives the tokens of the "
                        "reply to what was appended.")
      .def(
          "__init__",
          [](Generator* self, const Model& model, const nb::kwargs& options) {
            new (self) Generator(model, make_config(options));
          },
          nb::arg("model"), nb::arg("options"),
          "Options: the numbers that option_names() lists, stop (a text or a list), logit_bias ({id: number}), "
          "end_tokens (a list), and as what the reply must follow json_schema (a dict or its text), regex or lark.")
      .def(
          "append_tokens",
          [](Generator& generator, nb::object tokens, const Cancel* cancel) {
            const Ids ids(tokens, "tokens");
            const nb::gil_scoped_release unlocked;
            generator.append_tokens(ids.span(), token_of(cancel));
          },
          nb::arg("tokens"), nb::arg("cancel") = nb::none(), "Appends a prompt, or more of one, and computes it.")
      .def("next_token", next_token, "Chooses the next token.")
      .def_prop_ro("is_done", &Generator::is_done)
      .def_prop_ro("finish_reason",
                   [](const Generator& generator) -> std::optional<std::string> {
                     if (!generator.is_done()) return std::nullopt;
                     return name_of(generator.finish_reason());
                   })
      .def_prop_ro(
          "tokens", [](const Generator& generator) { return to_array(generator.tokens()); }, nb::rv_policy::automatic,
          "Prompt and reply, int32.")
      .def("__len__", [](const Generator& generator) { return generator.token_count(); })
      .def("rewind_to", &Generator::rewind_to, nb::arg("length"), "Forgets all but the first tokens.")
      .def(
          "logits",
          [](Generator& generator) {
            std::vector<float> logits;
            {
              const nb::gil_scoped_release unlocked;
              logits = generator.logits();
            }
            return to_array(std::move(logits));
          },
          "For the next token: [vocab_size], float32.")
      .def(
          "set_logits",
          [](Generator& generator, nb::object logits) {
            const Numbers<float> numbers(logits, "logits");
            const nb::gil_scoped_release unlocked;
            generator.set_logits(numbers.span());
          },
          nb::arg("logits"), "Lets the next token be chosen from these.")
      .def(
          "reply",
          [](Generator& generator, nb::object prompt, nb::object on_piece, const Cancel* cancel) {
            const Ids ids(prompt, "prompt");
            const PieceCallback callback = make_piece_callback(on_piece);
            const nb::gil_scoped_release unlocked;
            // Not copied: that needs the lock.
            return generator.reply(ids.span(), callback ? PieceCallback(std::cref(callback)) : PieceCallback(),
                                   token_of(cancel));
          },
          nb::arg("prompt"), nb::arg("on_piece") = nb::none(), nb::arg("cancel") = nb::none(),
          "The whole reply to a prompt, which takes the place of the text so far; what both begin with is kept.")
      .def(
          "__iter__", [](nb::handle self) { return nb::borrow(self); }, nb::sig("def __iter__(self) -> Generator"))
      .def("__next__", [](Generator& generator) {
        if (generator.is_done()) throw nb::stop_iteration();
        return next_token(generator);
      });
  module.def("option_names", &GenerationConfig::names, "The numbers that a Generator can be given.");
  module.def(
      "generate_batch",
      [](const Model& model, nb::sequence prompts, const nb::kwargs& options) {
        std::vector<std::vector<int32_t>> ids;
        for (const nb::handle prompt : prompts) {
          const Ids numbers(prompt, "prompts");
          ids.emplace_back(numbers.span().begin(), numbers.span().end());
        }
        const GenerationConfig config = make_config(options);
        const nb::gil_scoped_release unlocked;
        return generate_batch(model, ids, config);
      },
      nb::arg("model"), nb::arg("prompts"), nb::arg("options"),
      "The replies to several prompts of token ids, which go through the model together.");
}

void add_beams(nb::module_& module) {
  nb::class_<BeamReply>(module, "BeamReply", "One of the best replies to a prompt.")
      .def_ro("text", &BeamReply::text)
      .def_prop_ro(
          "ids", [](const BeamReply& reply) { return to_array(reply.ids); }, nb::rv_policy::automatic)
      .def_ro("score", &BeamReply::score, "Sum of log probabilities / length ^ length_penalty.")
      .def_prop_ro("finish_reason", [](const BeamReply& reply) { return name_of(reply.finish); });
  module.def(
      "beam_search",
      [](const Model& model, nb::object prompt, int64_t num_beams, int64_t num_return_sequences, double length_penalty,
         bool early_stopping, const Cancel* cancel, const nb::kwargs& options) {
        const Ids ids(prompt, "prompt");
        const GenerationConfig config = make_config(options);
        const nb::gil_scoped_release unlocked;
        return beam_search(model, ids.span(), {num_beams, num_return_sequences, length_penalty, early_stopping}, config,
                           token_of(cancel));
      },
      nb::arg("model"), nb::arg("prompt"), nb::arg("num_beams") = 4, nb::arg("num_return_sequences") = 1,
      nb::arg("length_penalty") = 1.0, nb::arg("early_stopping") = false, nb::arg("cancel") = nb::none(),
      nb::arg("options"), "The best replies to a prompt of token ids, best first, as transformers searches for them.");
}

}  // namespace

void add_generation(nb::module_& module) {
  nb::class_<Cancel>(module, "Cancel", "Stops, from another thread, the work that it was given to.")
      .def(nb::init<>())
      .def("cancel", &Cancel::cancel)
      .def_prop_ro("cancelled", &Cancel::cancelled);
  add_text(module);
  add_model(module);
  add_results(module);
  add_generator(module);
  add_beams(module);
}

}  // namespace salient::python
