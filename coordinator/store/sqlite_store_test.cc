#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "coordinator/store/store.h"
#include "coordinator/testing/temp_dir.h"

namespace alpa::coordinator {
namespace {

using ::testing::HasSubstr;

class SqliteStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<Store> Open() {
    auto store = OpenSqliteStore(path_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  void Overwrite(int64_t offset, const std::string& bytes) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset);
    file << bytes;
  }
  const TempDir directory_;
  const std::string path_ = directory_.path() + "/jobs.sqlite";
};

TEST_F(SqliteStoreTest, RecordsSurviveReopening) {
  const std::string bytes("\0\xff'\"; DROP TABLE jobs; --", 26);
  {
    const auto store = Open();
    ASSERT_TRUE(store->Record({"second", "r", ""}, {1, 10, "submitted", ""}).ok());
    ASSERT_TRUE(store->Record({"first", bytes, "one"}, {1, 11, "submitted", bytes}).ok());
    ASSERT_TRUE(store->Record({"first", "ignored", bytes}, {2, 12, "running", "now"}).ok());
  }
  const auto store = Open();
  const auto jobs = store->Jobs();
  ASSERT_TRUE(jobs.ok());
  ASSERT_EQ(jobs->size(), 2u);
  EXPECT_EQ((*jobs)[0].job_id, "second") << "jobs come in the order of their first record";
  EXPECT_EQ((*jobs)[1].job_id, "first");
  EXPECT_EQ((*jobs)[1].request, bytes);
  EXPECT_EQ((*jobs)[1].job, bytes);
  const auto events = store->Events("first");
  ASSERT_TRUE(events.ok());
  ASSERT_EQ(events->size(), 2u);
  EXPECT_EQ((*events)[0].message, bytes);
  EXPECT_EQ((*events)[1].sequence, 2);
  EXPECT_EQ((*events)[1].unix_ms, 12);
  EXPECT_EQ((*events)[1].kind, "running");
  EXPECT_TRUE(store->Events("nobody")->empty());
}

TEST_F(SqliteStoreTest, ARecordIsWrittenCompletelyOrNotAtAll) {
  const auto store = Open();
  ASSERT_TRUE(store->Record({"job", "r", "before"}, {1, 0, "submitted", ""}).ok());
  // The event's sequence number is taken, so neither the event nor the job may be written.
  EXPECT_EQ(store->Record({"job", "r", "after"}, {1, 0, "running", ""}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(store->Jobs()->at(0).job, "before");
  EXPECT_EQ(store->Events("job")->at(0).kind, "submitted");
  EXPECT_TRUE(store->Record({"job", "r", "after"}, {2, 0, "running", ""}).ok()) << "the store still works";
}

TEST_F(SqliteStoreTest, RemovedJobsStayRemoved) {
  {
    const auto store = Open();
    ASSERT_TRUE(store->Record({"job", "r", "j"}, {1, 0, "submitted", ""}).ok());
    ASSERT_TRUE(store->Remove("job").ok());
    ASSERT_TRUE(store->Remove("nobody").ok());
  }
  const auto store = Open();
  EXPECT_TRUE(store->Jobs()->empty());
  EXPECT_TRUE(store->Events("job")->empty());
}

TEST_F(SqliteStoreTest, EpochsGrowWithEveryStart) {
  EXPECT_EQ(*Open()->NextEpoch(), 1u);
  EXPECT_EQ(*Open()->NextEpoch(), 2u);
}

TEST_F(SqliteStoreTest, AFileThatIsNotADatabaseGivesAClearError) {
  std::ofstream(path_) << "this is a text file, long enough to be looked at as a database would be, and more than that";
  const auto store = OpenSqliteStore(path_);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr(path_));
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("move it away"));
}

TEST_F(SqliteStoreTest, ADamagedDatabaseGivesAClearError) {
  {
    const auto store = Open();
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(store
                      ->Record({"job-" + std::to_string(i), std::string(500, 'r'), std::string(500, 'j')},
                               {1, 0, "submitted", "x"})
                      .ok());
    }
  }
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path_));
  ASSERT_GT(size, 100'000);
  for (int64_t at = 4096; at + 4096 < size; at += 8192) Overwrite(at, std::string(4096, '\x5a'));
  const auto store = OpenSqliteStore(path_);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kDataLoss) << store.status();
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("damaged"));
}

TEST_F(SqliteStoreTest, ADatabaseCanBeOpenedOnlyOnce) {
  const auto store = Open();
  const auto second = OpenSqliteStore(path_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("in use"));
}

TEST_F(SqliteStoreTest, AMissingFolderGivesAClearError) {
  const auto store = OpenSqliteStore(directory_.path() + "/nowhere/jobs.sqlite");
  EXPECT_EQ(store.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("nowhere/jobs.sqlite"));
}

}  // namespace
}  // namespace alpa::coordinator
