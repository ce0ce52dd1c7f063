#pragma once
// One SQLite connection and its statements. The only file of the room, with database.cpp, that knows sqlite3.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace skiff::store {

/// A prepared statement. Belongs to its connection's thread; reset() it after use.
class Statement {
 public:
  Statement(sqlite3_stmt* statement, const std::string& path) : statement_(statement), path_(&path) {}
  Statement(Statement&& other) noexcept
      : statement_(std::exchange(other.statement_, nullptr)), path_(other.path_) {}
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  /// Parameters count from 1. Bytes are not copied: they must live until reset().
  Statement& bind(int at, std::int64_t number);
  Statement& bind(int at, std::string_view bytes);
  Statement& bind(int at, std::optional<size_t> number);

  /// The next row; false when there is none.
  Result<bool> step();
  /// Runs a statement without rows, then reset().
  Status run();
  void reset();

  /// Columns count from 0.
  std::int64_t integer(int column) const;
  std::string_view bytes(int column) const;  // until the next step()
  std::optional<size_t> optional(int column) const;

 private:
  sqlite3_stmt* statement_;
  const std::string* path_;  // of the connection, for errors
};

/// One connection. Not synchronised.
class Database {
 public:
  /// Code::Internal when the file is no database or damaged, else Code::System or Unavailable with its name.
  static Result<std::unique_ptr<Database>> open(const std::string& path, bool read_only);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return path_; }
  Status execute(const char* sql);
  Result<Statement> prepare(const char* sql);
  /// The single number that `sql` selects; 0 when it selects nothing.
  Result<std::int64_t> number(const char* sql);

 private:
  Database(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  sqlite3* handle_;
  std::string path_;
};

/// BEGIN IMMEDIATE now; ROLLBACK at the end of the scope unless commit() succeeded.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Status commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace skiff::store
