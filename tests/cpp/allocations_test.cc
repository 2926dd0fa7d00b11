// What is allocated does not grow with the rows, where nothing is wrong.
#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <utility>

#include "counting_env.h"
#include "files.h"
#include "random_world.h"

namespace {
std::atomic<int64_t> allocations = 0;
}  // namespace

// Counted for the whole program. Not inlined: the compiler would take malloc and delete for a
// mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace genie_env {
namespace {

template <typename Call>
int64_t AllocationsOf(const Call& call) {
  const int64_t before = allocations;
  call();
  return allocations - before;
}

/// Of every call of an environment of `rows` rows, once it is warm. `with_frames`: also of those
/// that encode or decode frames, and frames are what is observed.
std::vector<int64_t> AllocationsOfCalls(const std::shared_ptr<const World>& world, int64_t rows,
                                        bool with_frames) {
  VecEnv env(world, {.num_envs = rows,
                     .observation = with_frames ? world->spec().frame->name : "",
                     .autoreset_mode = AutoresetMode::kNextStep,
                     .max_episode_steps = 2,
                     .max_surprise = 1e9,
                     .seed = 0});
  const at::Tensor actions = at::zeros({rows}, at::kLong), warm = at::full({rows}, 1.5f);
  std::vector<int64_t> shape{rows};
  for (const int64_t length : world->spec().frame->shape) shape.push_back(length);
  const at::Tensor frames = at::zeros(shape, at::kByte);
  at::Tensor mask = at::zeros({rows}, at::kBool);
  mask.mutable_data_ptr<bool>()[0] = true;
  const at::Tensor all = at::full({rows}, true, at::kBool);
  std::vector<int64_t> counts;
  for (int round = 0; round < 2; ++round) {
    counts = {AllocationsOf([&] { env.Reset({.mask = all, .temperature = warm}); }),
              AllocationsOf([&] { env.Step(actions); }),
              AllocationsOf([&] { env.Step(actions); }),  // the last step of all episodes
              AllocationsOf([&] { env.Step(actions); }),  // all begin
              AllocationsOf([&] { env.Reset({.mask = mask}); }),
              AllocationsOf([&] { env.SetTemperature(warm); }),
              AllocationsOf([&] { env.TakeSnapshot(); })};
    if (!with_frames) continue;
    counts.push_back(AllocationsOf([&] { env.Follow(actions, frames); }));
    counts.push_back(AllocationsOf([&] { env.Reset({.frames = frames}); }));
    counts.push_back(AllocationsOf([&] { env.Render(); }));
  }
  return counts;
}

TEST(Allocations, DoNotGrowWithTheRows) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const TemporaryDirectory directory;
  // Not Genie, nor V's frames, in which oneDNN allocates for every product of a row.
  const std::pair<std::shared_ptr<const World>, bool> worlds[] = {
      {std::make_shared<CountingWorld>(99), true},
      {World::Load(WriteRandomWorld(directory.path()),
                   {.options = {{"termination", std::string("thresholded")}}}),
       false}};
  constexpr int64_t kFew = 16, kMany = 64;
  for (const auto& [world, with_frames] : worlds) {
    const std::vector<int64_t> few = AllocationsOfCalls(world, kFew, with_frames),
                               many = AllocationsOfCalls(world, kMany, with_frames);
    for (size_t call = 0; call < few.size(); ++call) {  // a list that grows doubles now and then
      EXPECT_LT(many[call] - few[call], (kMany - kFew) / 2)
          << world->spec().family << ", call " << call;
    }
  }
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace genie_env
