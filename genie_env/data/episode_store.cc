#include "genie_env/data/episode_store.h"

#include "genie_env/data/episode_arrays.h"

namespace genie_env {
struct EpisodeStore::Impl {
  template <typename T>
  std::span<const T> Rows(size_t column) const {
    const auto count = static_cast<size_t>(arrays.num_frames * ElementsOf(row_shape(column)));
    return arrays.columns[column].elements<T>().first(count);
  }

  const std::vector<int64_t>& row_shape(size_t column) const {
    return arrays.schema.columns[column].row_shape;
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
int64_t EpisodeStore::height() const { return impl_->row_shape(kFrames)[0]; }
int64_t EpisodeStore::width() const { return impl_->row_shape(kFrames)[1]; }

std::span<const uint8_t> EpisodeStore::frames() const { return impl_->Rows<uint8_t>(kFrames); }
bool EpisodeStore::has_box_actions() const { return impl_->arrays.schema.box(); }
const std::vector<int64_t>& EpisodeStore::action_shape() const {
  return impl_->row_shape(kActions);
}
std::span<const int64_t> EpisodeStore::actions() const {
  if (has_box_actions()) return {};
  return impl_->Rows<int64_t>(kActions);
}
std::span<const float> EpisodeStore::box_actions() const {
  if (!has_box_actions()) return {};
  return impl_->Rows<float>(kActions);
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
bool EpisodeStore::has_final_frames() const { return impl_->arrays.schema.has_final_frames; }
std::span<const uint8_t> EpisodeStore::final_frames() const {
  if (!has_final_frames()) return {};
  const auto count = static_cast<size_t>(num_episodes() * ElementsOf(impl_->row_shape(kFrames)));
  return impl_->arrays.final_frames->elements<uint8_t>().first(count);
}
const std::string& EpisodeStore::meta() const { return impl_->arrays.meta; }
const std::string& EpisodeStore::loss() const { return impl_->arrays.loss; }

}  // namespace genie_env
