#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace salient::serve {

/// The rows of a statement. Ends the statement when it goes; one statement has one of these at a time.
class Rows {
 public:
  Rows(sqlite3* connection, sqlite3_stmt* statement, const std::filesystem::path& file)
      : connection_(connection), statement_(statement), file_(file) {}
  ~Rows();
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  /// Goes to the next row, at first to the first; false when there is none.
  bool next();
  std::string text(int column) const;
  std::optional<std::string> optional_text(int column) const;
  int64_t integer(int column) const;

 private:
  sqlite3* connection_;
  sqlite3_stmt* statement_;
  const std::filesystem::path& file_;
};

/// A database file that belongs to this process alone as long as it is open. What was committed survives the end of the
/// process and of the machine's power. One thread may use it at a time. Failures are Errors that name the file.
class Database {
 public:
  /// Opens the file, and makes it, readable for this user only, where there is none.
  explicit Database(const std::filesystem::path& file);

  /// Prepares a statement, once for its text, and binds a value to each of its question marks.
  template <typename... Values>
  Rows query(const char* sql, const Values&... values) {
    sqlite3_stmt* statement = prepare(sql);
    int index = 0;
    (bind(statement, ++index, values), ...);
    return {connection_.get(), statement, file_};
  }
  /// The same for a statement without rows; returns how many rows it changed.
  template <typename... Values>
  int64_t run(const char* sql, const Values&... values) {
    query(sql, values...).next();
    return changes();
  }
  /// Runs statements that have neither values nor rows.
  void script(const char* sql);

  const std::filesystem::path& file() const { return file_; }

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  sqlite3_stmt* prepare(const char* sql);
  int64_t changes() const;
  static void bind(sqlite3_stmt* statement, int index, std::string_view value);
  static void bind(sqlite3_stmt* statement, int index, int64_t value);
  static void bind(sqlite3_stmt* statement, int index, const std::optional<std::string>& value);
  static void bind(sqlite3_stmt* statement, int index, const std::string& value) {
    bind(statement, index, std::string_view(value));
  }
  static void bind(sqlite3_stmt* statement, int index, const char* value) {
    bind(statement, index, std::string_view(value));
  }

  std::filesystem::path file_;
  std::unique_ptr<sqlite3, Close> connection_;
  std::map<std::string, std::unique_ptr<sqlite3_stmt, Finalize>, std::less<>> statements_;
};

/// All or nothing: what is done while it lives is undone unless it is committed.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  void commit();

 private:
  Database& database_;
  bool is_open_ = true;
};

}  // namespace salient::serve
