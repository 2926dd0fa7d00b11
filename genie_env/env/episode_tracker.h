#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "genie_env/core/random.h"

namespace genie_env {

/// Which episode every row of an environment is in, and how far. A row's counter.step is the index
/// of its current frame: 0 where an episode begins, and frame t is drawn with step t, so that no
/// two frames share a draw. Thread-compatible.
///
/// A call asks for the counters that it would bring, hands them to the world, and has them adopted
/// when the world has done its part.
class EpisodeTracker {
 public:
  /// Row i has the seed `seed + i`.
  EpisodeTracker(int64_t rows, uint64_t seed);

  int64_t rows() const { return static_cast<int64_t>(phases_.size()); }

  /// Rows whose episode has ended.
  std::vector<int64_t> Ended() const;

  /// Throws ResetNeeded, its text beginning with `call`, where a row (of `rows`) has no episode.
  void CheckBegun(const std::string& call) const;
  void CheckBegun(const std::string& call, std::span<const int64_t> rows) const;

  /// Chosen rows begin: with a new seed at episode 0, or at the next episode of their own.
  RowCounters PlanReset(std::span<const bool> chosen,
                        const std::optional<std::vector<uint64_t>>& seeds) const;
  void CommitReset(RowCounters counters, std::span<const bool> chosen);

  /// Throws ResetNeeded, its text beginning with `call`, where an episode has ended; `why` says
  /// what keeps the row from its next one.
  void CheckNoneEnded(const std::string& call, const std::string& why) const;

  /// Rows that have ended begin their next episode, the others advance by one frame.
  RowCounters PlanStep() const;
  /// `terminated` and `truncated` are false where a row began. Adds to `truncated` where an episode
  /// has `limit` steps (0: no limit); returns whether there is any.
  bool CommitStep(RowCounters counters, std::span<const bool> terminated, int64_t limit,
                  std::span<bool> truncated);

  /// All rows advance by one frame.
  RowCounters PlanFollow() const;
  void CommitFollow(RowCounters counters) { counters_ = std::move(counters); }

  /// The given rows alone, in that order.
  EpisodeTracker Select(std::span<const int64_t> rows) const;

  /// Where each row is: what a snapshot stores, together with Ended().
  const RowCounters& counters() const { return counters_; }
  /// Rows that were stored so: those of `ended` have ended, the others go on.
  static EpisodeTracker Restored(RowCounters counters, std::span<const int64_t> ended);

  /// rows[i] goes on where source[i] of `other` is, or, given seeds, branches off there: with
  /// seeds[i], in the first episode of that seed, and as many steps into it.
  void Resume(std::span<const int64_t> rows, const EpisodeTracker& other,
              std::span<const int64_t> source, const std::optional<std::vector<uint64_t>>& seeds);

  /// A call failed half way: no row has an episode any more.
  void Invalidate();

 private:
  enum class Phase : uint8_t {
    kNew,      ///< it has never begun
    kRunning,  ///< its episode goes on
    kEnded,    ///< its episode has ended
    kInvalid,  ///< it had an episode when a call failed
  };

  RowCounter NextEpisode(size_t row) const;

  RowCounters counters_;
  std::vector<Phase> phases_;
};

}  // namespace genie_env
