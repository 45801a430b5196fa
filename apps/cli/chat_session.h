#pragma once

#include <optional>
#include <salient/salient.hpp>
#include <string>
#include <vector>

#include "cli/model.h"

namespace salient::cli {

/// A conversation in the terminal: what is said to the model, and the commands, which begin with a slash. Replies go to
/// standard output, all else to standard error. What fails is said there, and the conversation goes on.
class ChatSession {
 public:
  explicit ChatSession(const ReplyFlags& flags);

  /// Takes in a message, or a command where it may be one; false when the conversation is to end.
  bool take(const std::string& input, bool may_be_command);

 private:
  struct Command {
    const char* name;
    const char* argument;  ///< as the help shows it
    const char* help;
    void (ChatSession::*run)(const std::string& argument);
  };
  static const std::vector<Command>& commands();

  void run_command(const std::string& line);
  void open(const ModelName& name);
  void say(const std::string& text);
  void show_help(const std::string& argument);
  void forget(const std::string& argument);
  void use_model(const std::string& argument);
  void use_system(const std::string& argument);
  void save(const std::string& argument);
  void load(const std::string& argument);
  void show_stats(const std::string& argument);
  void end(const std::string& argument);

  ModelOptions options_;
  GenerationConfig config_;
  std::string system_;
  std::optional<Generator> generator_;
  std::optional<Model> model_;
  std::string model_name_;
  std::vector<Message> messages_;  ///< without the system message
  std::vector<Reply> replies_;     ///< of this run
  bool has_ended_ = false;
};

}  // namespace salient::cli
