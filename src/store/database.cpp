#include "store/database.hpp"

#include <sqlite3.h>

#include <cstring>
#include <utility>

namespace skiff::store {

namespace {

// What a caller can do about each failure decides its code: Unavailable may pass (disk full, I/O), Internal
// will not (damage, a bug).
Code code_of(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
      return Code::Unavailable;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return Code::System;
    default:
      return Code::Internal;
  }
}

Error sqlite_error(sqlite3* handle, const std::string& path) {
  int result = sqlite3_extended_errcode(handle);
  int primary = result & 0xff;
  std::string message = fmt::format("store '{}': {}", path, sqlite3_errmsg(handle));
  if (primary == SQLITE_FULL) return Error(Code::Unavailable, message + ": " + std::strerror(ENOSPC), ENOSPC);
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
    return Error(Code::Internal, message + " (the file is damaged, or was not made by skiff)");
  int cause = sqlite3_system_errno(handle);
  bool of_system = primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN;
  if (of_system && cause != 0) message += fmt::format(": {}", std::strerror(cause));
  return Error(code_of(result), std::move(message), of_system ? cause : 0);
}

}  // namespace

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int at, std::int64_t number) {
  sqlite3_bind_int64(statement_, at, number);
  return *this;
}

Statement& Statement::bind(int at, std::string_view bytes) {
  sqlite3_bind_blob64(statement_, at, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind(int at, std::optional<size_t> number) {
  if (number) return bind(at, static_cast<std::int64_t>(*number));
  sqlite3_bind_null(statement_, at);
  return *this;
}

Result<bool> Statement::step() {
  int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  Error failed = sqlite_error(sqlite3_db_handle(statement_), *path_);
  reset();
  return failed;
}

Status Statement::run() {
  Result<bool> row = step();
  reset();
  if (!row.ok()) return std::move(row).error();
  return ok();
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string_view Statement::bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

std::optional<size_t> Statement::optional(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return static_cast<size_t>(integer(column));
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, bool read_only) {
  sqlite3* handle = nullptr;
  int mode = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  int result =
      sqlite3_open_v2(path.c_str(), &handle, mode | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  auto database = std::unique_ptr<Database>(new Database(handle, path));
  if (result != SQLITE_OK) return sqlite_error(handle, path);
  sqlite3_busy_timeout(handle, 5000);  // somebody looks at the file with the sqlite3 command
  return database;
}

Database::~Database() { sqlite3_close(handle_); }

Status Database::execute(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return sqlite_error(handle_, path_);
  return ok();
}

Result<Statement> Database::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK)
    return sqlite_error(handle_, path_);
  return Statement(statement, path_);
}

Result<std::int64_t> Database::number(const char* sql) {
  TRY_ASSIGN(Statement statement, prepare(sql));
  TRY_ASSIGN(bool row, statement.step());
  return row ? statement.integer(0) : 0;
}

Result<Transaction> Transaction::begin(Database& database) {
  TRY(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

// Some errors (a full disk) have already rolled back; ROLLBACK then fails harmlessly.
Transaction::~Transaction() {
  if (database_ != nullptr) static_cast<void>(database_->execute("ROLLBACK"));
}

Status Transaction::commit() {
  TRY(database_->execute("COMMIT"));
  database_ = nullptr;
  return ok();
}

}  // namespace skiff::store
