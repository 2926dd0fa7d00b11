#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "files.h"
#include "genie_env/core/text.h"
#include "genie_env/env/vec_env.h"
#include "genie_env/tensor/device.h"
#include "random_genie.h"

namespace genie_env {
namespace {

// That this machine has less memory than `rows` take is told, with the right figures.
void ExpectTold(const std::string& text, int64_t rows, const World& world) {
  const int64_t bytes = world.spec().state_bytes_per_row;
  const std::string needed = BytesText(static_cast<double>(rows) * static_cast<double>(bytes));
  const std::string begin = std::to_string(rows) + " rows need " + needed + " of state (" +
                            std::to_string(bytes) + " bytes each), but ";
  const std::string middle = " of memory are free on cpu: ask for at most ";
  const size_t at = text.find(middle);
  ASSERT_TRUE(text.starts_with(begin) && at != std::string::npos && text.ends_with(" rows"))
      << text;
  // Other programs take memory and give it back in the meantime.
  const double fits = static_cast<double>(*FreeMemory(at::kCPU)) / static_cast<double>(bytes);
  EXPECT_NEAR(std::stod(text.substr(at + middle.size())), fits, fits / 2);
}

TEST(StateMemory, MoreThanThereIsIsRefusedWithTheFiguresByEveryFamily) {
  if (!FreeMemory(at::kCPU)) GTEST_SKIP() << "this system does not say how much memory is free";
  const TemporaryDirectory directory;
  for (const auto& path : {WriteRandomGenie(directory.path() / "genie"),
                           WriteRandomWorld(directory.path() / "vision-memory")}) {
    const auto world = World::Load(path);
    // The last two are more bytes than 64 bits can count.
    for (const int64_t rows : {int64_t{1} << 40, int64_t{1} << 55, INT64_MAX}) {
      ExpectTold(TextOf<std::invalid_argument>([&] { world->MakeState(rows); }), rows, *world);
      ExpectTold(
          TextOf<std::invalid_argument>([&] { VecEnv(world, {.num_envs = rows, .seed = 0}); }),
          rows, *world);
    }
    EXPECT_EQ(world->MakeState(2).rows(), 2);
  }
}

TEST(StateMemory, BytesInUnits) {
  EXPECT_EQ(BytesText(1023), "1023 bytes");
  EXPECT_EQ(BytesText(4403), "4.3 KiB");
  EXPECT_EQ(BytesText(512.0 * (1 << 30)), "512.0 GiB");
  EXPECT_EQ(BytesText(0x1p74), "16384.0 EiB");
}

}  // namespace
}  // namespace genie_env
