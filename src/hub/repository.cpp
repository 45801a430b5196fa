#include "hub/repository.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

constexpr uint64_t kMostJsonBytes = 16 << 20;
constexpr size_t kMostFiles = 100'000;
constexpr int kMostPages = 1'000;

bool is_hexadecimal(const std::string& text, size_t size) {
  return text.size() == size && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// Whether a text can be a file's name in the cache.
bool is_plain_name(const std::string& text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), plain);
}

std::string percent_encoded(const std::string& text, bool keep_slashes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~' || (keep_slashes && c == '/');
    if (plain) {
      encoded += c;
    } else {
      encoded += {'%', kDigits[byte / 16], kDigits[byte % 16]};
    }
  }
  return encoded;
}

json parse(const std::string& text, const std::string& url) {
  json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) fail(ErrorKind::kInvalidInput, "{}: the hub's answer is not JSON", url);
  return document;
}

json get_json(const std::string& url, const ModelName& name, const Settings& settings, const TransferOptions& options,
              TransferOutcome& outcome) {
  std::string body;
  outcome = get_text(url, kMostJsonBytes, options, body);
  if (!outcome.done) fail_for(outcome, name, url, settings);
  return parse(body, url);
}

std::string shown(const json& value) {
  return value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 80);
}

std::string text_of(const json& object, const char* field, const std::string& url) {
  const auto found = object.find(field);
  if (found == object.end()) fail(ErrorKind::kInvalidInput, "{}: the hub's answer has no field {}", url, field);
  if (!found->is_string()) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a text", url, field, shown(*found));
  }
  return found->get<std::string>();
}

uint64_t size_of(const json& object, const std::string& url) {
  const json size = object.value("size", json());
  if (!size.is_number_unsigned() || size.get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
    fail(ErrorKind::kInvalidInput, "{}: size is {}, expected a number of bytes", url, shown(size));
  }
  return size.get<uint64_t>();
}

/// The page of a list after this one: "<https://host/path?cursor=x>; rel="next"" names it. Its host is not obeyed: the
/// token is for ours.
std::optional<std::string> next_page(const std::string& link, const Settings& settings) {
  const size_t next = link.find("rel=\"next\"");
  const size_t begin = link.rfind('<', next);
  const size_t end = link.find('>', begin == std::string::npos ? 0 : begin);
  if (next == std::string::npos || begin == std::string::npos || end == std::string::npos) return std::nullopt;
  const std::string target = link.substr(begin + 1, end - begin - 1);
  const size_t path = target.find("/api/");
  if (path == std::string::npos) return std::nullopt;
  return settings.endpoint + target.substr(path);
}

/// What one entry of a tree says; nothing for a folder.
std::optional<RemoteFile> read_file_entry(const json& entry, const std::string& url) {
  if (!entry.is_object()) fail(ErrorKind::kInvalidInput, "{}: a file is {}, expected an object", url, shown(entry));
  if (text_of(entry, "type", url) != "file") return std::nullopt;
  RemoteFile file;
  file.path = text_of(entry, "path", url);
  check_relative_path(file.path, url);
  const json lfs = entry.value("lfs", json());
  const json& content = lfs.is_object() ? lfs : entry;
  file.size = size_of(content, url);
  if (content.contains("oid")) set_content_name(file, text_of(content, "oid", url), url);
  return file;
}

std::vector<RemoteFile> read_tree(const Repository& repository, const Settings& settings,
                                  const TransferOptions& options) {
  std::vector<RemoteFile> files;
  std::optional<std::string> url = settings.endpoint + "/api/models/" + repository.name.repository + "/tree/" +
                                   repository.commit + "?recursive=true";
  for (int page = 0; url && page < kMostPages; ++page) {
    TransferOutcome outcome;
    const json entries = get_json(*url, repository.name, settings, options, outcome);
    if (!entries.is_array()) {
      fail(ErrorKind::kInvalidInput, "{}: the hub's answer is {}, expected a list of files", *url, shown(entries));
    }
    for (const json& entry : entries) {
      if (auto file = read_file_entry(entry, *url)) files.push_back(std::move(*file));
      if (files.size() > kMostFiles) fail(ErrorKind::kInvalidInput, "{}: lists more than {} files", *url, kMostFiles);
    }
    url = next_page(outcome.link, settings);
  }
  return files;
}

/// Model cards name one licence or several.
std::string license_of(const json& information) {
  const json card = information.value("cardData", json());
  const json license = card.is_object() ? card.value("license", json()) : json();
  if (license.is_string()) return license.get<std::string>();
  if (license.is_array() && !license.empty() && license[0].is_string()) return license[0].get<std::string>();
  return {};
}

}  // namespace

void set_content_name(RemoteFile& file, const std::string& etag, const std::string& url) {
  if (!is_plain_name(etag)) {
    fail(ErrorKind::kInvalidInput, "{}: the content of {} is called {}, expected a hash", url, file.path,
         shown(json(etag)));
  }
  file.etag = etag;
  if (is_hexadecimal(etag, 64)) file.sha256 = etag;
  if (is_hexadecimal(etag, 40)) file.git_id = etag;
}

Repository read_repository(const ModelName& name, const Settings& settings, const TransferOptions& options) {
  const std::string url =
      settings.endpoint + "/api/models/" + name.repository + "/revision/" + percent_encoded(name.revision, false);
  TransferOutcome outcome;
  const json information = get_json(url, name, settings, options, outcome);
  if (!information.is_object()) {
    fail(ErrorKind::kInvalidInput, "{}: the hub's answer is {}, expected an object", url, shown(information));
  }
  Repository repository;
  repository.name = name;
  repository.commit = text_of(information, "sha", url);
  if (!is_plain_name(repository.commit)) {
    fail(ErrorKind::kInvalidInput, "{}: sha is {}, expected the id of a commit", url, shown(information["sha"]));
  }
  const json gated = information.value("gated", json(false));
  repository.gated = gated.is_string() || (gated.is_boolean() && gated.get<bool>());
  repository.license = license_of(information);
  repository.files = read_tree(repository, settings, options);
  return repository;
}

std::string file_url(const Repository& repository, const std::string& path, const Settings& settings) {
  return settings.endpoint + "/" + repository.name.repository + "/resolve/" + repository.commit + "/" +
         percent_encoded(path, true);
}

void fail_for(const TransferOutcome& outcome, const ModelName& name, const std::string& url, const Settings& settings) {
  const std::string& model = name.repository;
  const std::string page = settings.endpoint + "/" + model;
  const bool gated = outcome.error_code == "GatedRepo";
  const bool revision_missing = outcome.error_code == "RevisionNotFound";
  if (outcome.local_failure) fail(ErrorKind::kInvalidInput, "{}", outcome.error);
  if (outcome.status == 401 && settings.token.empty()) {
    if (gated) {
      fail(ErrorKind::kInvalidInput,
           "{}: is gated (401): accept its licence at {}, then set HF_TOKEN to an access token of that account", model,
           page);
    }
    fail(ErrorKind::kNotFound,
         "{}: the hub has no public model of this name (401): check the spelling at {}; a private or gated model needs "
         "HF_TOKEN, an access token of an account that may read it",
         model, page);
  }
  if (outcome.status == 401 || outcome.status == 403) {
    fail(
        ErrorKind::kInvalidInput,
        "{}: the account of HF_TOKEN may not read it ({}): accept its licence at {}, and check that the token is valid "
        "and may read gated models",
        model, outcome.status, page);
  }
  if (outcome.status == 404 && revision_missing) {
    fail(ErrorKind::kNotFound, "{}: has no revision {} (404): see the branches and tags at {}", model, name.revision,
         page);
  }
  if (outcome.status == 404) {
    fail(ErrorKind::kNotFound, "{}: the hub answers that there is no {} (404): check the spelling at {}",
         to_string(name), url, page);
  }
  if (outcome.status == 429) {
    fail(ErrorKind::kNetwork,
         "{}: {}: it is asked too often; try again later, or set HF_TOKEN, which allows more requests", url,
         outcome.error);
  }
  if (outcome.status >= 500) {
    fail(ErrorKind::kNetwork, "{}: {}: the hub is not available; try again later, what was downloaded is kept", url,
         outcome.error);
  }
  if (outcome.status == 0) {
    fail(ErrorKind::kNetwork,
         "{}: {} cannot be reached: {}; check the network, or set HF_HUB_OFFLINE=1 to use only what is in the cache",
         to_string(name), settings.endpoint, outcome.error);
  }
  fail(ErrorKind::kNetwork, "{}: cannot be downloaded: {}; what was downloaded is kept", url, outcome.error);
}

}  // namespace salient::hub
