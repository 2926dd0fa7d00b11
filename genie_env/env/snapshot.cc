#include "genie_env/env/snapshot.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <array>
#include <charconv>
#include <limits>
#include <map>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "genie_env/core/error.h"
#include "genie_env/core/options.h"
#include "genie_env/core/text.h"
#include "genie_env/env/snapshot_parts.h"
#include "genie_env/io/file.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/safetensors.h"
#include "genie_env/tensor/frozen_scope.h"
#include "genie_env/tensor/stored_tensors.h"
#include "genie_env/worlds/check_arguments.h"

namespace genie_env {
namespace {

constexpr const char* kFormat = "genie_env snapshot 1";
constexpr std::string_view kState = "state.";    // goes before the names of the world's own tensors
constexpr std::string_view kOption = "option.";  // goes before the names of its family's options

/// The tensors of a file, and the views of them that are written.
class Tensors {
 public:
  explicit Tensors(const Snapshot::Parts& parts) {
    const RowCounters& counters = parts.tracker.counters();
    const auto rows = static_cast<int64_t>(counters.size());
    const at::Tensor seed = at::empty({rows}, at::kLong), episode = at::empty({rows}, at::kLong),
                     step = at::empty({rows}, at::kLong), ended = at::zeros({rows}, at::kBool);
    for (int64_t row = 0; row < rows; ++row) {
      const RowCounter& counter = counters[static_cast<size_t>(row)];
      seed.mutable_data_ptr<int64_t>()[row] = static_cast<int64_t>(counter.seed);  // its 64 bits
      episode.mutable_data_ptr<int64_t>()[row] = counter.episode;
      step.mutable_data_ptr<int64_t>()[row] = counter.step;
    }
    for (const int64_t row : parts.tracker.Ended()) ended.mutable_data_ptr<bool>()[row] = true;
    Add("seed", seed);
    Add("episode", episode);
    Add("step", step);
    Add("ended", ended);
    Add("temperature", parts.temperature);
    for (const auto& [name, tensor] : parts.state.fields()) Add(std::string(kState) + name, tensor);
  }

  const std::map<std::string, TensorView>& views() const { return views_; }

 private:
  void Add(const std::string& name, const at::Tensor& tensor) {
    kept_.push_back(tensor.cpu().contiguous());
    views_.emplace(name, ViewOf(kept_.back()));
  }

  std::vector<at::Tensor> kept_;
  std::map<std::string, TensorView> views_;
};

std::map<std::string, std::string> MetadataOf(const Snapshot::Parts& parts) {
  std::map<std::string, std::string> metadata{
      {"format", kFormat}, {"world", parts.world}, {"fingerprint", parts.fingerprint}};
  if (!parts.dtype.empty()) metadata.emplace("dtype", parts.dtype);
  if (!parts.starts.empty()) metadata.emplace("starts", parts.starts);
  for (const auto& [name, text] : parts.options) {
    metadata.emplace(std::string(kOption) + name, text);
  }
  return metadata;
}

std::string TextOf(const OptionValue& value) {
  if (const auto* number = std::get_if<double>(&value)) {
    std::array<char, 32> text{};
    return {text.data(), std::to_chars(text.data(), text.data() + text.size(), *number).ptr};
  }
  return ValueText(value);
}

// "passes=3 and order=random"
std::string Listed(const std::vector<std::string>& options) {
  std::string list;
  for (size_t i = 0; i < options.size(); ++i) {
    if (i > 0) list += i + 1 == options.size() ? " and " : ", ";
    list += options[i];
  }
  return list;
}

std::string Assigned(const std::string& name, const std::string& value) {
  return Shortened(name) + "=" + Shortened(value);
}

// Throws unless the world computes as the snapshot's did.
void CheckOptionsAlike(const WorldSpec& spec, const Snapshot::Parts& parts) {
  std::vector<std::string> taken, in_force, unsaid;
  const auto compare = [&](const std::string& name, const std::string& stored,
                           const std::string& own) {
    if (stored == own) return;
    taken.push_back(Assigned(name, stored));
    in_force.push_back(Assigned(name, own));
  };
  if (parts.dtype.empty() && !spec.dtype.empty()) {
    unsaid.emplace_back("dtype");
  } else {
    compare("dtype", parts.dtype, spec.dtype);
  }
  std::map<std::string, std::string> others = parts.options;
  for (const Option& option : spec.options) {
    const auto stored = parts.options.find(option.spec.name);
    if (stored == parts.options.end()) {
      unsaid.push_back(option.spec.name);
    } else {
      compare(option.spec.name, stored->second, TextOf(option.value));
      others.erase(option.spec.name);
    }
  }
  for (const auto& [name, text] : others) {
    taken.push_back(Assigned(name, text));
    in_force.push_back(Assigned("no option", name));
  }
  if (!unsaid.empty()) {
    throw std::invalid_argument("snapshot: it does not say with which " + Listed(unsaid) +
                                " it was taken, and might go on otherwise; take it again with "
                                "this genie_env");
  }
  if (taken.empty()) return;
  throw std::invalid_argument("snapshot: it was taken with " + Listed(taken) +
                              ", but this environment's world was loaded with " + Listed(in_force) +
                              "; load the world as the snapshot's was");
}

/// A snapshot out of a file, every number of which is checked but those of the world's own tensors.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name)
      : name_(name), file_(bytes, name) {}

  Snapshot::Parts Read() const {
    const auto format = file_.metadata().find("format");
    if (format == file_.metadata().end() || format->second != kFormat) {
      throw FormatError(name_ + " is no snapshot of this genie_env: its \"format\" is not \"" +
                        kFormat + "\"");
    }
    const at::Tensor seed = Take("seed", at::kLong, -1);
    const int64_t rows = seed.size(0);
    const at::Tensor episode = Take("episode", at::kLong, rows),
                     step = Take("step", at::kLong, rows),
                     flags = Take("ended", at::kBool, rows).view(at::kByte),
                     temperature = Take("temperature", at::kFloat, rows);
    RowCounters counters(static_cast<size_t>(rows));
    std::vector<int64_t> ended;
    for (int64_t row = 0; row < rows; ++row) {
      counters[static_cast<size_t>(row)] = {
          static_cast<uint64_t>(seed.const_data_ptr<int64_t>()[row]),
          Counter("episode", episode.const_data_ptr<int64_t>()[row]),
          Counter("step", step.const_data_ptr<int64_t>()[row])};
      if (flags.const_data_ptr<uint8_t>()[row] != 0) ended.push_back(row);
      CheckStored(temperature.const_data_ptr<float>()[row]);
    }
    return {.world = Metadata("world"),
            .fingerprint = Metadata("fingerprint"),
            .dtype = OptionalMetadata("dtype"),
            .options = Options(),
            .starts = OptionalMetadata("starts"),
            .state = State(rows),
            .tracker = EpisodeTracker::Restored(std::move(counters), ended),
            .temperature = temperature};
  }

 private:
  [[noreturn]] void Refuse(const std::string& tensor, const std::string& why) const {
    throw FormatError(name_ + ": tensor " + Quoted(tensor) + " " + why);
  }

  std::string Metadata(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) throw FormatError(name_ + " has no \"" + key + "\"");
    return found->second;
  }

  std::string OptionalMetadata(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    return found == file_.metadata().end() ? "" : found->second;
  }

  std::map<std::string, std::string> Options() const {
    std::map<std::string, std::string> options;
    for (const auto& [key, text] : file_.metadata()) {
      if (key.starts_with(kOption)) options.emplace(key.substr(kOption.size()), text);
    }
    return options;
  }

  // [rows]; -1: any number above 0
  at::Tensor Take(const std::string& tensor, at::ScalarType dtype, int64_t rows) const {
    const auto found = file_.tensors().find(tensor);
    if (found == file_.tensors().end())
      throw FormatError(name_ + " has no tensor " + Quoted(tensor));
    at::Tensor copy = CopyOf(found->second);
    if (copy.scalar_type() != dtype || !ShapeMatches(copy.sizes(), std::array{rows}) ||
        copy.numel() == 0) {
      Refuse(tensor, "is " + Describe(copy) + ", expected " + Describe(dtype, {rows}));
    }
    return copy;
  }

  uint32_t Counter(const std::string& tensor, int64_t value) const {
    if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
      Refuse(tensor, "holds " + std::to_string(value) + ", expected 0 to 2**32 - 1");
    }
    return static_cast<uint32_t>(value);
  }

  void CheckStored(float temperature) const {
    try {
      CheckTemperature(temperature, "temperature");
    } catch (const std::invalid_argument& error) {
      throw FormatError(name_ + ": " + error.what());
    }
  }

  WorldState State(int64_t rows) const {
    std::vector<WorldState::Field> fields;
    for (const auto& [tensor, view] : file_.tensors()) {
      if (!tensor.starts_with(kState)) continue;
      if (view.shape.empty() || view.shape[0] != rows) {
        Refuse(tensor, "has shape " + ShapeText(view.shape) + ", expected " + std::to_string(rows) +
                           " rows");
      }
      fields.push_back({tensor.substr(kState.size()), CopyOf(view)});
    }
    if (fields.empty()) throw FormatError(name_ + " holds no state of a world");
    return WorldState(std::move(fields));
  }

  std::string name_;
  SafetensorsFile file_;
};

}  // namespace

Snapshot::Snapshot(Parts parts) : parts_(std::make_shared<const Parts>(std::move(parts))) {}

int64_t Snapshot::rows() const { return parts_->tracker.rows(); }
const std::string& Snapshot::world() const { return parts_->world; }
const std::string& Snapshot::fingerprint() const { return parts_->fingerprint; }

void Snapshot::Save(const std::filesystem::path& file) const {
  const FrozenScope scope;
  WriteSafetensors(file, Tensors(*parts_).views(), MetadataOf(*parts_));
}

Snapshot Snapshot::Load(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  return FromBytes(mapped.bytes(), file.string());
}

std::string Snapshot::ToBytes() const {
  const FrozenScope scope;
  return SafetensorsBytes(Tensors(*parts_).views(), MetadataOf(*parts_));
}

Snapshot Snapshot::FromBytes(std::span<const std::byte> bytes, const std::string& name) {
  const FrozenScope scope;
  return Snapshot(Reader(bytes, name).Read());
}

std::map<std::string, std::string> TextsOf(std::span<const Option> options) {
  std::map<std::string, std::string> texts;
  for (const Option& option : options) texts.emplace(option.spec.name, TextOf(option.value));
  return texts;
}

WorldState StateFor(const World& world, const WorldState& like, const Snapshot& snapshot) {
  const auto describe = [](const std::string& name, const std::string& fingerprint) {
    return Quoted(name) + " (fingerprint " + fingerprint.substr(0, 12) + ")";
  };
  const WorldSpec& spec = world.spec();
  if (snapshot.fingerprint() != spec.fingerprint) {
    throw std::invalid_argument(
        "snapshot: it was taken in the world " +
        describe(snapshot.world(), snapshot.fingerprint()) + ", but this environment dreams in " +
        describe(spec.name, spec.fingerprint) + "; restore it where it was taken");
  }
  CheckOptionsAlike(spec, snapshot.parts());
  std::vector<WorldState::Field> fields;
  for (const auto& [name, expected] : like.fields()) {
    at::Tensor found;
    for (const auto& [stored, tensor] : snapshot.parts().state.fields()) {
      if (stored == name) found = tensor;
    }
    std::vector<int64_t> shape = expected.sizes().vec();
    shape[0] = snapshot.rows();
    if (!found.defined() || found.scalar_type() != expected.scalar_type() ||
        found.sizes() != at::IntArrayRef(shape)) {
      throw std::invalid_argument(
          "snapshot: its \"" + name + "\" is " + Describe(found) + ", but this world's is " +
          Describe(expected.scalar_type(), shape) +
          "; load the world with the dtype that the snapshot was taken with");
    }
    fields.push_back({name, found.to(expected.device())});
  }
  WorldState state(std::move(fields));
  // It may come from a file, which may hold anything: the world looks at it before it is used.
  world.Observe(state, world.spec().observations.front().name, at::empty({0}, at::kLong));
  return state;
}

}  // namespace genie_env
