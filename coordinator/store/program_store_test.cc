#include "coordinator/store/program_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "base/units.h"
#include "coordinator/testing/temp_dir.h"

namespace alpa::coordinator {
namespace {

using ::testing::HasSubstr;

class ProgramStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<ProgramStore> Open() {
    auto store = ProgramStore::Open(directory_.path() + "/programs");
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  static std::string Program(size_t size) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 131 + i / 251);
    return bytes;
  }
  const TempDir directory_;
  const std::string program_ = Program(10'000);
  const uint64_t hash_ = XXH64(program_.data(), program_.size(), 0);
  const int64_t size_ = static_cast<int64_t>(program_.size());
  absl::string_view Part(size_t from, size_t count) const { return absl::string_view(program_).substr(from, count); }
};

TEST_F(ProgramStoreTest, ChunksAddUpToAProgram) {
  const auto store = Open();
  EXPECT_EQ(*store->Received(hash_, size_), 0);
  EXPECT_EQ(store->Read(hash_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*store->Append(hash_, size_, 0, Part(0, 4000)), 4000);
  EXPECT_EQ(store->Read(hash_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*store->Append(hash_, size_, 4000, Part(4000, 4000)), 8000);
  EXPECT_EQ(*store->Append(hash_, size_, 8000, Part(8000, 4000)), size_);
  EXPECT_EQ(*store->Read(hash_), program_);
  EXPECT_EQ(*store->Received(hash_, size_), size_);
  EXPECT_EQ(*store->Append(hash_, size_, 0, Part(0, 10)), size_) << "a repeated chunk changes nothing";
}

TEST_F(ProgramStoreTest, AnUploadContinuesAfterARestart) {
  ASSERT_TRUE(Open()->Append(hash_, size_, 0, Part(0, 3000)).ok());
  const auto store = Open();
  EXPECT_EQ(*store->Received(hash_, size_), 3000);
  EXPECT_EQ(*store->Append(hash_, size_, 3000, Part(3000, 7000)), size_);
  EXPECT_EQ(*Open()->Read(hash_), program_);
}

TEST_F(ProgramStoreTest, BytesThatAreStoredAlreadyAreSkipped) {
  const auto store = Open();
  ASSERT_TRUE(store->Append(hash_, size_, 0, Part(0, 5000)).ok());
  EXPECT_EQ(*store->Append(hash_, size_, 0, Part(0, 2000)), 5000);
  EXPECT_EQ(*store->Append(hash_, size_, 4000, Part(4000, 6000)), size_);
  EXPECT_EQ(*store->Read(hash_), program_);
}

TEST_F(ProgramStoreTest, AGapIsRefusedAndChangesNothing) {
  const auto store = Open();
  ASSERT_TRUE(store->Append(hash_, size_, 0, Part(0, 1000)).ok());
  for (int64_t offset : {int64_t{1001}, int64_t{-1}, INT64_MAX, INT64_MIN}) {
    EXPECT_EQ(store->Append(hash_, size_, offset, Part(0, 10)).status().code(), absl::StatusCode::kInvalidArgument)
        << offset;
  }
  EXPECT_EQ(*store->Received(hash_, size_), 1000);
}

TEST_F(ProgramStoreTest, AWrongHashIsRefusedAndTheBytesAreDropped) {
  const auto store = Open();
  std::string wrong = program_;
  wrong[77] ^= 1;
  const auto result = store->Append(hash_, size_, 0, wrong);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("do not have the announced hash"));
  EXPECT_EQ(*store->Received(hash_, size_), 0);
  EXPECT_EQ(*store->Append(hash_, size_, 0, program_), size_) << "the program can be sent again";
}

TEST_F(ProgramStoreTest, MoreBytesThanAnnouncedAreRefused) {
  const auto store = Open();
  EXPECT_EQ(store->Append(hash_, 100, 0, Part(0, 101)).status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(store->Append(hash_, size_, 0, Part(0, 5000)).ok());
  EXPECT_EQ(store->Append(hash_, 100, 0, Part(0, 50)).status().code(), absl::StatusCode::kInvalidArgument)
      << "a second client that announces less";
}

TEST_F(ProgramStoreTest, TheSizeOfAProgramIsLimited) {
  const auto store = Open();
  EXPECT_EQ(store->Received(hash_, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store->Received(hash_, -1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store->Append(hash_, 3 * kGiB, 0, "x").status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(ProgramStoreTest, TwoClientsCanUploadTheSameProgramAtOnce) {
  const auto store = Open();
  const auto upload = [&](size_t chunk) {
    for (size_t at = 0; at < program_.size(); at += chunk) {
      const auto received = store->Append(hash_, size_, static_cast<int64_t>(at), Part(at, chunk));
      ASSERT_TRUE(received.ok()) << received.status();
    }
  };
  std::thread one(upload, 700), two(upload, 300);
  one.join();
  two.join();
  EXPECT_EQ(*store->Read(hash_), program_);
}

TEST_F(ProgramStoreTest, AFolderThatCannotBeCreatedGivesAClearError) {
  std::ofstream(directory_.path() + "/file") << "x";
  const auto store = ProgramStore::Open(directory_.path() + "/file/programs");
  EXPECT_EQ(store.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("/file/programs"));
}

}  // namespace
}  // namespace alpa::coordinator
