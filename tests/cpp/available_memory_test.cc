#include "genie_env/core/available_memory.h"

#include <gtest/gtest.h>

#include <string>

#include "files.h"

namespace genie_env {
namespace {

/// A system with 1,000 KiB of memory available, and files as a test writes them.
class AvailableMemoryTest : public testing::Test {
 protected:
  AvailableMemoryTest() {
    Write("proc/meminfo", "MemTotal:  4000 kB\nMemFree:   10 kB\nMemAvailable:    1000 kB\n");
  }

  void Write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = root_.path() / file;
    std::filesystem::create_directories(path.parent_path());
    WriteBytes(path, text);
  }

  void WriteGroup(const std::string& group, const std::string& max, int64_t current, int64_t files,
                  const std::string& high = "max") const {
    Write(group + "/memory.max", max + "\n");
    Write(group + "/memory.high", high + "\n");
    Write(group + "/memory.current", std::to_string(current) + "\n");
    Write(group + "/memory.stat", "anon 5\nactive_file " + std::to_string(files / 4) +
                                      "\ninactive_file " + std::to_string(files - files / 4) +
                                      "\n");
  }

  void WriteFirstVersion(const std::string& group, const std::string& limit, int64_t usage,
                         int64_t files) const {
    Write(group + "/memory.limit_in_bytes", limit + "\n");
    Write(group + "/memory.usage_in_bytes", std::to_string(usage) + "\n");
    Write(group + "/memory.stat", "inactive_file 0\ntotal_active_file " +
                                      std::to_string(files / 4) + "\ntotal_inactive_file " +
                                      std::to_string(files - files / 4) + "\n");
  }

  int64_t Available() const { return AvailableMemory(root_.path()).value_or(-1); }

  static constexpr int64_t kAll = 1000 * 1024;
  static constexpr const char* kUnlimited = "9223372036854771712";

 private:
  TemporaryDirectory root_;
};

TEST_F(AvailableMemoryTest, WithoutGroupsItIsTheSystems) {
  EXPECT_EQ(Available(), kAll);
  Write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(Available(), kAll);
  Write("proc/meminfo", "");
  EXPECT_EQ(Available(), -1);
}

TEST_F(AvailableMemoryTest, TheSecondVersionLimitsIt) {
  Write("proc/self/cgroup", "0::/job\n");
  WriteGroup("sys/fs/cgroup/job", "5000", 3000, 400);
  EXPECT_EQ(Available(), 2400);
  WriteGroup("sys/fs/cgroup/job", "5000", 6000, 400);
  EXPECT_EQ(Available(), 0);
  WriteGroup("sys/fs/cgroup/job", "max", 3000, 400);
  EXPECT_EQ(Available(), kAll);
  WriteGroup("sys/fs/cgroup/job", "max", 3000, 0, "4500");  // beyond which it is all but stopped
  EXPECT_EQ(Available(), 1500);
  WriteGroup("sys/fs/cgroup/job", std::to_string(10 * kAll), 0, 0);
  EXPECT_EQ(Available(), kAll);
}

TEST_F(AvailableMemoryTest, TheSmallestOnTheWayUpCounts) {
  Write("proc/self/cgroup", "0::/slice/job/step\n");
  WriteGroup("sys/fs/cgroup/slice", "9000", 5000, 0);
  WriteGroup("sys/fs/cgroup/slice/job", "max", 3000, 0);
  WriteGroup("sys/fs/cgroup/slice/job/step", "8000", 1000, 0);
  EXPECT_EQ(Available(), 4000);
  WriteGroup("sys/fs/cgroup/slice/job", "3500", 3000, 0);
  EXPECT_EQ(Available(), 500);
}

TEST_F(AvailableMemoryTest, AContainersGroupMayBeTheMountItself) {
  Write("proc/self/cgroup", "0::/docker/1a2b\n");  // a path of the host
  WriteGroup("sys/fs/cgroup", "2000", 500, 0);
  EXPECT_EQ(Available(), 1500);
}

TEST_F(AvailableMemoryTest, TheFirstVersionLimitsIt) {
  Write("proc/self/cgroup", "12:pids:/job\n5:hugetlb,memory:/box/job\n1:name=systemd:/\n0::/\n");
  WriteFirstVersion("sys/fs/cgroup/memory/box/job", "5000", 3000, 100);
  WriteFirstVersion("sys/fs/cgroup/memory", kUnlimited, 3000, 0);
  EXPECT_EQ(Available(), 2100);
  WriteFirstVersion("sys/fs/cgroup/memory/box", "4000", 3500, 0);
  EXPECT_EQ(Available(), 500);
  WriteFirstVersion("sys/fs/cgroup/memory/box", kUnlimited, 3500, 0);
  WriteFirstVersion("sys/fs/cgroup/memory/box/job", kUnlimited, 3000, 100);
  EXPECT_EQ(Available(), kAll);
}

TEST_F(AvailableMemoryTest, DamagedFilesLimitNothing) {
  Write("proc/self/cgroup", "nonsense\n0::/job\n");
  for (const std::string max : {"", "x", "-", "99999999999999999999999"}) {
    WriteGroup("sys/fs/cgroup/job", max, 3000, 400);
    EXPECT_EQ(Available(), kAll) << max;
  }
}

}  // namespace
}  // namespace genie_env
