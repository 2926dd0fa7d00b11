#include "genie_env/env/episode_tracker.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/core/text.h"

namespace genie_env {
namespace {

template <typename T>
std::vector<T> Selected(const std::vector<T>& values, std::span<const int64_t> rows) {
  std::vector<T> selected;
  selected.reserve(rows.size());
  for (const int64_t row : rows) selected.push_back(values[static_cast<size_t>(row)]);
  return selected;
}

}  // namespace

EpisodeTracker::EpisodeTracker(int64_t rows, uint64_t seed)
    : counters_(static_cast<size_t>(rows)), phases_(counters_.size(), Phase::kNew) {
  for (size_t row = 0; row < counters_.size(); ++row) counters_[row].seed = seed + row;
}

std::vector<int64_t> EpisodeTracker::Ended() const {
  std::vector<int64_t> ended;
  for (size_t row = 0; row < phases_.size(); ++row) {
    if (phases_[row] == Phase::kEnded) ended.push_back(static_cast<int64_t>(row));
  }
  return ended;
}

void EpisodeTracker::CheckBegun(const std::string& call) const {
  const auto begun = [](Phase phase) { return phase == Phase::kRunning || phase == Phase::kEnded; };
  if (std::ranges::all_of(phases_, begun)) return;
  std::vector<int64_t> all(phases_.size());
  std::iota(all.begin(), all.end(), 0);
  CheckBegun(call, all);
}

void EpisodeTracker::CheckBegun(const std::string& call, std::span<const int64_t> rows) const {
  std::vector<int64_t> missing;
  bool invalid = false;
  for (const int64_t row : rows) {
    const Phase phase = phases_[static_cast<size_t>(row)];
    if (phase == Phase::kNew || phase == Phase::kInvalid) missing.push_back(row);
    invalid = invalid || phase == Phase::kInvalid;
  }
  if (missing.empty()) return;
  throw ResetNeeded(call + (invalid ? " after a call that failed: " : " before reset: ") +
                    NameRows(missing) + (missing.size() == 1 ? " has" : " have") +
                    " no episode; reset first");
}

void EpisodeTracker::CheckNoneEnded(const std::string& call, const std::string& why) const {
  const std::vector<int64_t> ended = Ended();
  if (ended.empty()) return;
  throw ResetNeeded(call + ": " + NameRows(ended) + (ended.size() == 1 ? " has" : " have") +
                    " ended, and " + why + "; reset " + (ended.size() == 1 ? "it" : "them") +
                    " first");
}

RowCounter EpisodeTracker::NextEpisode(size_t row) const {
  const RowCounter& now = counters_[row];
  return {now.seed, phases_[row] == Phase::kNew ? 0 : now.episode + 1, 0};
}

RowCounters EpisodeTracker::PlanReset(std::span<const bool> chosen,
                                      const std::optional<std::vector<uint64_t>>& seeds) const {
  RowCounters next = counters_;
  for (size_t row = 0; row < next.size(); ++row) {
    if (chosen[row]) next[row] = seeds ? RowCounter{(*seeds)[row], 0, 0} : NextEpisode(row);
  }
  return next;
}

void EpisodeTracker::CommitReset(RowCounters counters, std::span<const bool> chosen) {
  counters_ = std::move(counters);
  for (size_t row = 0; row < phases_.size(); ++row) {
    if (chosen[row]) phases_[row] = Phase::kRunning;
  }
}

RowCounters EpisodeTracker::PlanStep() const {
  RowCounters next = counters_;
  for (size_t row = 0; row < next.size(); ++row) {
    if (phases_[row] == Phase::kEnded) {
      next[row] = NextEpisode(row);
    } else {
      ++next[row].step;
    }
  }
  return next;
}

bool EpisodeTracker::CommitStep(RowCounters counters, std::span<const bool> terminated,
                                int64_t limit, std::span<bool> truncated) {
  counters_ = std::move(counters);
  bool any = false;
  for (size_t row = 0; row < phases_.size(); ++row) {
    truncated[row] = truncated[row] || (limit > 0 && counters_[row].step >= limit);
    any = any || truncated[row];
    phases_[row] = terminated[row] || truncated[row] ? Phase::kEnded : Phase::kRunning;
  }
  return any;
}

RowCounters EpisodeTracker::PlanFollow() const {
  RowCounters next = counters_;
  for (RowCounter& counter : next) ++counter.step;
  return next;
}

EpisodeTracker EpisodeTracker::Select(std::span<const int64_t> rows) const {
  EpisodeTracker selected(0, 0);
  selected.counters_ = Selected(counters_, rows);
  selected.phases_ = Selected(phases_, rows);
  return selected;
}

EpisodeTracker EpisodeTracker::Restored(RowCounters counters, std::span<const int64_t> ended) {
  EpisodeTracker restored(0, 0);
  restored.phases_.assign(counters.size(), Phase::kRunning);
  restored.counters_ = std::move(counters);
  for (const int64_t row : ended) restored.phases_[static_cast<size_t>(row)] = Phase::kEnded;
  return restored;
}

void EpisodeTracker::Resume(std::span<const int64_t> rows, const EpisodeTracker& other,
                            std::span<const int64_t> source,
                            const std::optional<std::vector<uint64_t>>& seeds) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto to = static_cast<size_t>(rows[i]), from = static_cast<size_t>(source[i]);
    counters_[to] = other.counters_[from];
    phases_[to] = other.phases_[from];
    if (seeds) counters_[to] = {(*seeds)[i], 0, counters_[to].step};
  }
}

void EpisodeTracker::Invalidate() {
  for (Phase& phase : phases_) {
    if (phase != Phase::kNew) phase = Phase::kInvalid;
  }
}

}  // namespace genie_env
