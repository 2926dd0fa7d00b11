#include "genie_env/data/episode_store.h"

#include "genie_env/data/episode_arrays.h"

namespace genie_env {
struct EpisodeStore::Impl {
  template <typename T>
  std::span<const T> Rows(size_t column, int64_t elements_a_row = 1) const {
    const auto count = static_cast<size_t>(arrays.rows(column) * elements_a_row);
    return arrays.columns[column].elements<T>().first(count);
  }

  EpisodeArrays arrays;
};

EpisodeStore::EpisodeStore(const std::filesystem::path& directory)
    : impl_(new Impl{EpisodeArrays(directory)}) {}
EpisodeStore::~EpisodeStore() = default;
EpisodeStore::EpisodeStore(EpisodeStore&&) noexcept = default;
EpisodeStore& EpisodeStore::operator=(EpisodeStore&&) noexcept = default;

int64_t EpisodeStore::num_episodes() const { return impl_->arrays.num_episodes; }
int64_t EpisodeStore::num_frames() const { return impl_->arrays.num_frames; }
int64_t EpisodeStore::height() const { return impl_->arrays.schema.height; }
int64_t EpisodeStore::width() const { return impl_->arrays.schema.width; }

std::span<const uint8_t> EpisodeStore::frames() const {
  return impl_->Rows<uint8_t>(kFrames, height() * width() * 3);
}
std::span<const int64_t> EpisodeStore::actions() const {
  return box() ? std::span<const int64_t>() : impl_->Rows<int64_t>(kActions);
}
const std::optional<std::vector<int64_t>>& EpisodeStore::box() const {
  return impl_->arrays.schema.box;
}
std::span<const float> EpisodeStore::box_actions() const {
  if (!box()) return {};
  return impl_->Rows<float>(kActions, impl_->arrays.schema.action_size());
}
bool EpisodeStore::has_final_frames() const { return impl_->arrays.schema.final_frames; }
std::span<const uint8_t> EpisodeStore::final_frames() const {
  if (!has_final_frames()) return {};
  return impl_->Rows<uint8_t>(kFinalFrames, height() * width() * 3);
}
std::span<const float> EpisodeStore::rewards() const { return impl_->Rows<float>(kRewards); }
std::span<const uint8_t> EpisodeStore::terminations() const {
  return impl_->Rows<uint8_t>(kTerminations);
}
std::span<const uint8_t> EpisodeStore::truncations() const {
  return impl_->Rows<uint8_t>(kTruncations);
}
std::span<const int64_t> EpisodeStore::episode_starts() const {
  return impl_->arrays.starts.elements<int64_t>().first(static_cast<size_t>(num_episodes() + 1));
}
const std::string& EpisodeStore::meta() const { return impl_->arrays.meta; }
const std::string& EpisodeStore::loss() const { return impl_->arrays.loss; }

}  // namespace genie_env
