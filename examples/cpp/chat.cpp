// Answers one question: chat MODEL QUESTION
#include <iostream>
#include <salient/salient.hpp>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: chat MODEL QUESTION\n";
    return 2;
  }
  try {
    const salient::Model model(argv[1]);
    const salient::Tokenizer tokenizer = model.tokenizer();
    const std::string prompt = model.chat_template().render({{"user", argv[2]}});

    salient::GenerationConfig config;
    config.temperature = 0;
    config.max_tokens = 100;
    salient::Generator generator(model, config);
    generator.append_tokens(tokenizer.encode(prompt, false));
    while (!generator.is_done()) std::cout << generator.next_token().text << std::flush;
    std::cout << "\n";
  } catch (const salient::Error& error) {
    std::cerr << "chat: " << error.what() << "\n";
    return 1;
  }
}
