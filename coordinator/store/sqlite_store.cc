#include <sqlite3.h>

#include "base/status.h"
#include "coordinator/store/store.h"

namespace alpa::coordinator {
namespace {

constexpr int kBusyMillis = 500;  // maximum time that SQLite waits for the lock of another process

class Statement {
 public:
  Statement(sqlite3* db, const char* sql) : db_(db) {
    if (sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr) != SQLITE_OK) statement_ = nullptr;
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement& Bind(const std::string& text) {
    sqlite3_bind_blob64(statement_, ++bound_, text.data(), text.size(), SQLITE_TRANSIENT);
    return *this;
  }
  Statement& Bind(int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  // Executes the statement up to its next row. Returns false if there are no more rows.
  absl::StatusOr<bool> Step() {
    const int code = statement_ == nullptr ? SQLITE_ERROR : sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return absl::UnavailableError(absl::StrCat("the job database failed: ", sqlite3_errmsg(db_)));
  }
  std::string Text(int column) {
    const void* data = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), static_cast<size_t>(size));
  }
  int64_t Int(int column) { return sqlite3_column_int64(statement_, column); }

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

class SqliteStore : public Store {
 public:
  explicit SqliteStore(sqlite3* db) : db_(db) {}
  ~SqliteStore() override { sqlite3_close(db_); }

  absl::Status Record(const StoredJob& job, const StoredEvent& event) override {
    return Atomically([&] { return Write(job, event); });
  }

  absl::Status Remove(const std::string& job_id) override {
    return Atomically([&] {
      Statement events(db_, "DELETE FROM events WHERE job_id = ?"), jobs(db_, "DELETE FROM jobs WHERE job_id = ?");
      ALPA_RETURN_IF_ERROR(events.Bind(job_id).Step().status());
      return jobs.Bind(job_id).Step().status();
    });
  }

  absl::StatusOr<std::vector<StoredJob>> Jobs() override {
    Statement select(db_, "SELECT job_id, request, job FROM jobs ORDER BY number");
    std::vector<StoredJob> jobs;
    for (;;) {
      ALPA_ASSIGN_OR_RETURN(const bool row, select.Step());
      if (!row) return jobs;
      jobs.push_back({select.Text(0), select.Text(1), select.Text(2)});
    }
  }

  absl::StatusOr<std::vector<StoredEvent>> Events(const std::string& job_id) override {
    Statement select(db_, "SELECT sequence, unix_ms, kind, message FROM events WHERE job_id = ? ORDER BY sequence");
    select.Bind(job_id);
    std::vector<StoredEvent> events;
    for (;;) {
      ALPA_ASSIGN_OR_RETURN(const bool row, select.Step());
      if (!row) return events;
      events.push_back({select.Int(0), select.Int(1), select.Text(2), select.Text(3)});
    }
  }

  absl::StatusOr<uint64_t> NextEpoch() override {
    ALPA_RETURN_IF_ERROR(Execute("INSERT INTO starts DEFAULT VALUES"));
    return static_cast<uint64_t>(sqlite3_last_insert_rowid(db_));
  }

  absl::Status Execute(const char* sql) {
    char* message = nullptr;
    if (sqlite3_exec(db_, sql, nullptr, nullptr, &message) == SQLITE_OK) return absl::OkStatus();
    const std::string text = message == nullptr ? sqlite3_errmsg(db_) : message;
    sqlite3_free(message);
    return absl::UnavailableError("the job database failed: " + text);
  }

 private:
  template <typename Body>
  absl::Status Atomically(Body body) {
    ALPA_RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE"));
    absl::Status status = body();
    if (status.ok()) status = Execute("COMMIT");
    if (!status.ok()) (void)Execute("ROLLBACK");  // ignores an error of ROLLBACK, because the first error is returned
    return status;
  }

  absl::Status Write(const StoredJob& job, const StoredEvent& event) {
    Statement upsert(db_,
                     "INSERT INTO jobs (job_id, request, job) VALUES (?, ?, ?) "
                     "ON CONFLICT (job_id) DO UPDATE SET job = excluded.job");
    ALPA_RETURN_IF_ERROR(upsert.Bind(job.job_id).Bind(job.request).Bind(job.job).Step().status());
    Statement insert(db_, "INSERT INTO events (job_id, sequence, unix_ms, kind, message) VALUES (?, ?, ?, ?, ?)");
    insert.Bind(job.job_id).Bind(event.sequence).Bind(event.unix_ms).Bind(event.kind).Bind(event.message);
    return insert.Step().status();
  }

  sqlite3* const db_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path) {
  sqlite3* db = nullptr;
  const int opened = sqlite3_open(path.c_str(), &db);
  if (db == nullptr)
    return absl::UnavailableError(absl::StrCat("cannot open the job database ", path, ": out of memory"));
  auto store = std::make_unique<SqliteStore>(db);
  const auto failure = [&](int code, const absl::Status& status) {
    switch (code & 0xff) {  // the primary code, without SQLite's extended part
      case SQLITE_NOTADB:
      case SQLITE_CORRUPT:
        return absl::DataLossError(absl::StrCat("the job database ", path, " is damaged (",
                                                std::string(status.message()),
                                                "); restore it from a backup, or move it away to start with an "
                                                "empty one"));
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        return absl::UnavailableError(
            absl::StrCat(path, " is in use; is another coordinator running with this --data-dir?"));
      default:
        return absl::UnavailableError(
            absl::StrCat("cannot open the job database ", path, ": ", std::string(status.message())));
    }
  };
  if (opened != SQLITE_OK) return failure(opened, absl::UnavailableError(sqlite3_errmsg(db)));
  sqlite3_busy_timeout(db, kBusyMillis);
  // Only one coordinator may use the database: the first write takes the lock, and SQLite keeps the lock until the
  // coordinator ends.
  for (const char* sql :
       {"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL",
        "CREATE TABLE IF NOT EXISTS jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, job_id BLOB UNIQUE, request BLOB, "
        "job BLOB)",
        "CREATE TABLE IF NOT EXISTS events (job_id BLOB, sequence INTEGER, unix_ms INTEGER, kind BLOB, message BLOB, "
        "PRIMARY KEY (job_id, sequence))",
        "CREATE TABLE IF NOT EXISTS starts (epoch INTEGER PRIMARY KEY AUTOINCREMENT)", "BEGIN IMMEDIATE", "COMMIT"}) {
    if (absl::Status status = store->Execute(sql); !status.ok()) return failure(sqlite3_errcode(db), status);
  }
  Statement check(db, "PRAGMA quick_check(1)");
  const auto row = check.Step();
  if (!row.ok()) return failure(sqlite3_errcode(db), row.status());
  if (*row && check.Text(0) != "ok") return failure(SQLITE_CORRUPT, absl::DataLossError(check.Text(0)));
  return store;
}

}  // namespace alpa::coordinator
