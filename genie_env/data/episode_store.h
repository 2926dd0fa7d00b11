#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace genie_env {

// A directory of recorded episodes, as standard NumPy arrays over all N frames of all E episodes:
//
//     frames.npy          uint8   [N, H, W, 3]
//     actions.npy         int64   [N]           numbered actions; or
//                         float32 [N, ...]      points of a box
//     rewards.npy         float32 [N]
//     terminations.npy    bool    [N]
//     truncations.npy     bool    [N]
//     episode_starts.npy  int64   [E + 1]   episode e is starts[e] .. starts[e + 1]
//     final_frames.npy    uint8   [E, H, W, 3]  where the game shows a frame after the last action
//     meta.json           how it was recorded; it declares the arrays (docs/formats.md)
//     .lock               keeps a second writer away, and says which process the first one is
//     lost_1/, ...        what a writer found beyond the whole episodes, where a part was lost
//
// Index t holds frame t, the action chosen on seeing it, and the reward and flags that this action
// brought; so an episode's last frame is stored with its flags.
//
// A kill loses the episode in flight at most. After a power loss, or in an incomplete copy, not all
// of the later episodes is there: reader and writer then hold the whole episodes before the first
// that is not, and loss() says so. A writer copies the rest to lost_1/ before it goes on. What is
// damaged otherwise is refused.
//
// meta.json of format 2 declares each array ("columns", "episode_columns") and what actions may be
// ("actions"). Format 1 has neither: its actions are numbers from 0, without final frames. Both are
// read, and a recording goes on in the format that it was begun in.

/// T frames of one episode, borrowed from the caller.
struct EpisodeView {
  std::span<const uint8_t> frames;   ///< T x H x W x 3
  std::span<const int64_t> actions;  ///< T, or empty where actions are points of a box
  std::span<const float> rewards;
  std::span<const uint8_t> terminations;  ///< 0 or 1
  std::span<const uint8_t> truncations;
  std::span<const float> box_actions{};    ///< T x numbers of an action, or empty
  std::span<const uint8_t> final_frame{};  ///< H x W x 3 where they are declared, or empty
};

/// Appends whole episodes. An episode is stored once Append has returned; a failure leaves the
/// earlier episodes intact. Not thread-safe. A lock keeps a second writer out of the directory.
class EpisodeWriter {
 public:
  /// Creates the directory, or opens it to go on after its last whole episode (then the frame size
  /// must be equal). `meta` is the text of meta.json, of format 1 or 2; an existing one is
  /// replaced, which must have declared the same columns and actions, unless there is no episode
  /// yet. Throws std::invalid_argument on wrong arguments, FormatError on a damaged directory or
  /// one of another format version, std::runtime_error when another writer has it open or the disk
  /// is full.
  EpisodeWriter(const std::filesystem::path& directory, int64_t height, int64_t width,
                const std::string& meta);
  ~EpisodeWriter();
  EpisodeWriter(EpisodeWriter&&) noexcept;
  EpisodeWriter& operator=(EpisodeWriter&&) noexcept;

  /// Throws std::invalid_argument on lengths that disagree, an action that meta.json does not
  /// allow, or an episode without an end flag on its last frame alone, and std::runtime_error (with
  /// what to do) when the disk is full.
  void Append(const EpisodeView& episode);

  int64_t num_episodes() const;
  int64_t num_frames() const;
  bool has_box_actions() const;
  const std::vector<int64_t>& action_shape() const;  ///< of one action of a box; otherwise empty
  bool has_final_frames() const;

  /// What was lost when the directory was opened and where the rest of it lies, as a sentence;
  /// empty where nothing was missing.
  const std::string& loss() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A directory of episodes mapped into memory; its spans live as long as it does. Immutable. It
/// holds the episodes that were complete when it was opened.
class EpisodeStore {
 public:
  /// Checks every array against the others. Throws FormatError naming the file.
  explicit EpisodeStore(const std::filesystem::path& directory);
  ~EpisodeStore();
  EpisodeStore(EpisodeStore&&) noexcept;
  EpisodeStore& operator=(EpisodeStore&&) noexcept;

  int64_t num_episodes() const;
  int64_t num_frames() const;
  int64_t height() const;
  int64_t width() const;
  std::span<const uint8_t> frames() const;  ///< N x H x W x 3
  bool has_box_actions() const;
  const std::vector<int64_t>& action_shape() const;  ///< of one action of a box; otherwise empty
  std::span<const int64_t> actions() const;          ///< N, or empty where actions are of a box
  std::span<const float> box_actions() const;        ///< N x action_shape, or empty
  std::span<const float> rewards() const;
  std::span<const uint8_t> terminations() const;
  std::span<const uint8_t> truncations() const;
  std::span<const int64_t> episode_starts() const;  ///< E + 1
  bool has_final_frames() const;
  std::span<const uint8_t> final_frames() const;  ///< E x H x W x 3, or empty
  const std::string& meta() const;
  const std::string& loss() const;  ///< what is lost, as a sentence; empty: nothing

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genie_env
