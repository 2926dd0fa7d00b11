#include "genie_env/env/start_bank.h"

#include <ATen/ops/arange.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "genie_env/core/text.h"
#include "genie_env/env/burn_in.h"
#include "genie_env/io/sha256.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/tensor/draws.h"
#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/worlds/check_arguments.h"

namespace genie_env {
namespace {

/// Contexts that are followed together: so much memory is needed beside the bank's own.
constexpr int64_t kPiece = 64;

std::string HashOf(const at::Tensor& tensor) {
  return Sha256({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
}

std::string HashOf(const World& world, const at::Tensor& frames, const at::Tensor& actions) {
  const std::string text = world.spec().fingerprint + world.spec().dtype +
                           ShapeText(frames.sizes()) + HashOf(frames) + HashOf(actions);
  return Sha256(std::as_bytes(std::span(text)));
}

/// Keys of contexts: no row's seed is likely to be one of them.
RowCounters KeysOf(const std::string& hash, int64_t first, int64_t count) {
  const uint64_t base = std::stoull(hash.substr(0, 16), nullptr, 16);
  RowCounters keys;
  for (int64_t i = 0; i < count; ++i) keys.push_back({base + static_cast<uint64_t>(first + i)});
  return keys;
}

}  // namespace

StartBank::StartBank(std::shared_ptr<const World> world, WorldState states, std::string hash)
    : world_(std::move(world)), states_(std::move(states)), hash_(std::move(hash)) {}

std::shared_ptr<const StartBank> StartBank::Encode(std::shared_ptr<const World> world,
                                                   const at::Tensor& frames,
                                                   const at::Tensor& actions,
                                                   const std::function<void()>& between_frames) {
  const FrozenScope scope;
  if (world == nullptr) throw std::invalid_argument("world is null, expected a loaded world");
  const WorldSpec& spec = world->spec();
  const TensorSpec& frame = CheckHasFrames(spec, "starts");
  std::vector<int64_t> shape{-1, -1};
  shape.insert(shape.end(), frame.shape.begin(), frame.shape.end());
  CheckTensor(frames, "frames", at::kByte, shape);
  const int64_t count = frames.size(0), steps = frames.size(1) - 1;
  if (count < 1 || steps < 0) {
    throw std::invalid_argument("frames: got " + Describe(frames) +
                                ", expected one context or more, each of one frame or more");
  }
  CheckTensor(actions, "actions", ActionType(spec.actions),
              ActionShape(spec.actions, {count, steps}));
  const at::Tensor all_frames = frames.cpu().contiguous(), all_actions = actions.cpu().contiguous();
  const std::string hash = HashOf(*world, all_frames, all_actions);
  WorldState states = world->MakeState(count);
  for (int64_t first = 0; first < count; first += kPiece) {
    const int64_t rows = std::min(kPiece, count - first);
    RowCounters keys = KeysOf(hash, first, rows);
    const WorldState followed = BurnIn(*world, all_frames.narrow(0, first, rows),
                                       all_actions.narrow(0, first, rows), keys, between_frames);
    WorldState::CopyRows(followed, at::arange(rows), states, at::arange(first, first + rows));
  }
  return std::shared_ptr<const StartBank>(new StartBank(std::move(world), std::move(states), hash));
}

void StartBank::CheckWorld(const World* world) const {
  if (world == world_.get()) return;
  throw std::invalid_argument("starts: they were encoded by another world, " +
                              Quoted(world_->spec().name) +
                              "; encode them by the loaded world that the environment dreams in");
}

void StartBank::Begin(WorldState& state, const at::Tensor& rows, const RowCounters& rng) const {
  RowCounters chosen;
  for (int64_t i = 0; i < rows.numel(); ++i) {
    chosen.push_back(rng[static_cast<size_t>(rows.const_data_ptr<int64_t>()[i])]);
  }
  WorldState::CopyRows(states_, DrawStartIndices(chosen, size(), Stream::kStartBank), state, rows);
}

}  // namespace genie_env
