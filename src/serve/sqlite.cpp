#include "serve/sqlite.h"

#include <sqlite3.h>

#include <fstream>
#include <system_error>

#include "core/error.h"

namespace salient::serve {

namespace {

[[noreturn]] void fail(sqlite3* connection, const std::filesystem::path& file) {
  const int code = connection ? sqlite3_errcode(connection) : SQLITE_NOMEM;
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      core::fail(core::ErrorKind::kInvalidInput, "{} is in use by another program: give --store another file, or off",
                 file.string());
    case SQLITE_NOTADB:
      core::fail(core::ErrorKind::kInvalidInput, "{} is not a SQLite database", file.string());
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      core::fail(core::ErrorKind::kInvalidInput, "{} cannot be written: {}", file.string(), sqlite3_errmsg(connection));
    case SQLITE_NOMEM:
      core::fail(core::ErrorKind::kOutOfMemory, "{}: there is not enough memory", file.string());
    default:
      core::fail(core::ErrorKind::kInternal, "{}: {}", file.string(), sqlite3_errmsg(connection));
  }
}

/// Makes the file while nothing is in it, so that nobody else can read what comes: SQLite's other files follow it.
void make_private_file(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) return;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  if (error || !std::ofstream(file, std::ios::app)) {
    core::fail(core::ErrorKind::kInvalidInput, "{} cannot be made: give --store another file, or off", file.string());
  }
  std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write, error);
}

}  // namespace

Rows::~Rows() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

bool Rows::next() {
  const int result = sqlite3_step(statement_);
  if (result != SQLITE_ROW && result != SQLITE_DONE) fail(connection_, file_);
  return result == SQLITE_ROW;
}

std::string Rows::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return bytes ? std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column))) : std::string();
}

std::optional<std::string> Rows::optional_text(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return text(column);
}

int64_t Rows::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

void Database::Close::operator()(sqlite3* connection) const {
  sqlite3_close_v2(connection);
}

void Database::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Database::Database(const std::filesystem::path& file) : file_(file) {
  make_private_file(file_);
  sqlite3* connection = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int result = sqlite3_open_v2(file_.string().c_str(), &connection, flags, nullptr);
  connection_.reset(connection);
  if (result != SQLITE_OK) fail(connection, file_);
  // Exclusive before the first read: then a second process is kept out, and the log needs no shared memory.
  script(
      "PRAGMA locking_mode = EXCLUSIVE;"
      "PRAGMA journal_mode = WAL;"
      "PRAGMA synchronous = FULL;"
      "PRAGMA foreign_keys = ON;"
      "BEGIN IMMEDIATE; COMMIT");
}

void Database::script(const char* sql) {
  if (sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(connection_.get(), file_);
}

sqlite3_stmt* Database::prepare(const char* sql) {
  if (const auto found = statements_.find(sql); found != statements_.end()) return found->second.get();
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(connection_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) {
    fail(connection_.get(), file_);
  }
  statements_[sql].reset(statement);
  return statement;
}

int64_t Database::changes() const {
  return sqlite3_changes(connection_.get());
}

void Database::bind(sqlite3_stmt* statement, int index, std::string_view value) {
  // A null pointer would be NULL.
  sqlite3_bind_text64(statement, index, value.data() ? value.data() : "", value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void Database::bind(sqlite3_stmt* statement, int index, int64_t value) {
  sqlite3_bind_int64(statement, index, value);
}

void Database::bind(sqlite3_stmt* statement, int index, const std::optional<std::string>& value) {
  if (value) {
    bind(statement, index, std::string_view(*value));
  } else {
    sqlite3_bind_null(statement, index);
  }
}

Transaction::Transaction(Database& database) : database_(database) {
  database_.script("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  if (!is_open_) return;
  try {
    database_.script("ROLLBACK");
  } catch (const core::Error&) {
    // SQLite has rolled back by itself after a failure of the disk.
  }
}

void Transaction::commit() {
  database_.script("COMMIT");
  is_open_ = false;
}

}  // namespace salient::serve
