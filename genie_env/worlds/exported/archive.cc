#include "genie_env/worlds/exported/archive.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/io/json_check.h"
#include "genie_env/io/zip_archive.h"
#include "genie_env/worlds/exported/graph.h"

namespace genie_env {
namespace {

using nlohmann::json;

constexpr std::string_view kWeights = "data/weights/", kConstants = "data/constants/";
constexpr std::string_view kModels = "models/", kSampleInputs = "data/sample_inputs/";
constexpr int64_t kMaxStoredElements = int64_t{1} << 48;

class ArchiveChecker {
 public:
  ArchiveChecker(std::span<const std::byte> bytes, const std::string& file, at::DeviceType device,
                 const std::function<void()>& between_pieces)
      : zip_(bytes, file, between_pieces), file_(file), device_(device) {
    for (const auto& [name, member] : zip_.members()) {
      const size_t slash = name.find('/');
      const std::string root = name.substr(0, slash == std::string::npos ? 0 : slash + 1);
      if (members_.empty()) root_ = root;
      if (root.empty() || root != root_) {
        Fail("member " + Quoted(name) + " does not lie in the archive's one folder");
      }
      members_.emplace(name.substr(root.size()), member);
    }
  }

  std::map<std::string, ExportedGraph> Check(std::span<const std::string> models) {
    CheckNames(models);
    CheckText("archive_format", "pt2");
    CheckText("archive_version", "0");
    CheckText("byteorder", "little");
    std::map<std::string, ExportedGraph> graphs;
    for (const std::string& model : models) {
      const StoredTensors weights =
          CheckConfig(std::string(kWeights), model + "_weights_config.json");
      const StoredTensors constants =
          CheckConfig(std::string(kConstants), model + "_constants_config.json");
      const std::string name = file_ + ": the graph \"" + model + "\"";
      const json program = ParseArchiveJson(Member(std::string(kModels) + model + ".json"), name);
      graphs.emplace(model, CheckGraph(program, weights, constants, device_, name));
    }
    for (const auto& [name, member] : members_) {
      if (IsTensor(name) && !used_.contains(name)) {
        Fail("member " + Quoted(root_ + name) + " is a tensor of no graph");
      }
    }
    return graphs;
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const { throw FormatError(file_ + ": " + what); }

  static bool IsNumbered(std::string_view name, std::string_view prefix) {
    return name.starts_with(prefix) && name.size() > prefix.size() &&
           std::all_of(name.begin() + static_cast<std::ptrdiff_t>(prefix.size()), name.end(),
                       [](char c) { return c >= '0' && c <= '9'; });
  }

  static bool IsTensor(std::string_view name) {
    return IsNumbered(name, "data/weights/weight_") || IsNumbered(name, "data/constants/tensor_");
  }

  /// Only what is listed here may be in the archive.
  void CheckNames(std::span<const std::string> models) const {
    std::set<std::string> allowed{"archive_format", "archive_version", "byteorder",
                                  ".data/version",  "version",         ".data/serialization_id"};
    std::set<std::string> empty;
    for (const std::string& model : models) {
      allowed.insert(std::string(kModels) + model + ".json");
      allowed.insert(std::string(kWeights) + model + "_weights_config.json");
      allowed.insert(std::string(kConstants) + model + "_constants_config.json");
      empty.insert(std::string(kSampleInputs) + model + ".pt");
    }
    for (const auto& [name, member] : members_) {
      if (allowed.contains(name) || IsTensor(name)) continue;
      if (empty.contains(name) && member.empty()) continue;  // torch writes one for no inputs
      const std::string member_name = "member " + Quoted(root_ + name) + " ";
      if (name.starts_with(kModels)) {
        Fail(member_name + "is a graph that this world does not have");
      }
      Fail(member_name + "may not be in a world: " + Kind(name) +
           ", and nothing in a world directory is unpickled or executed. Freeze the world with "
           "genie-env, which leaves it out");
    }
  }

  static std::string Kind(std::string_view name) {
    if (name.starts_with(kSampleInputs)) return "sample inputs are a pickle";
    if (name.starts_with("data/constants/custom_obj_")) return "a custom object is a pickle";
    if (name.starts_with("data/aotinductor/")) return "it holds native code";
    if (name.starts_with("data/executorch/")) return "it is a program of ExecuTorch";
    if (name.ends_with(".pt") || name.ends_with(".pkl")) return "it is a pickle";
    if (name.ends_with(".so") || name.ends_with(".cubin")) return "it is native code";
    return "it is not a graph, a tensor or the archive's version";
  }

  std::span<const std::byte> Member(const std::string& name) const {
    const auto found = members_.find(name);
    if (found == members_.end()) Fail("it has no member " + Quoted(root_ + name));
    return found->second;
  }

  void CheckText(const std::string& name, std::string_view expected) const {
    const auto bytes = Member(name);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text != expected) {
      Fail("member " + Quoted(root_ + name) + " is " + Quoted(text) + ", expected \"" +
           std::string(expected) + "\"");
    }
  }

  /// The tensors of a graph, by name, after their sizes were compared with their bytes.
  StoredTensors CheckConfig(const std::string& folder, const std::string& name) {
    const std::string what = file_ + ": " + root_ + folder + name;
    const json config = ParseArchiveJson(Member(folder + name), what);
    if (config.size() != 1 || !config.contains("config") || !config["config"].is_object()) {
      throw FormatError(what + " does not have just the object \"config\"");
    }
    StoredTensors tensors;
    for (const auto& [tensor, entry] : config["config"].items()) {
      const std::string which = what + ": tensor " + Quoted(tensor);
      CheckEntry(entry, folder, which);
      tensors.emplace(tensor, entry["tensor_meta"]);
    }
    return tensors;
  }

  void CheckEntry(const json& entry, const std::string& folder, const std::string& which) {
    const auto is = [&](const char* key, bool (json::*type)() const) {
      return entry.contains(key) && (entry[key].*type)();
    };
    if (!entry.is_object() || entry.size() != 4 || !is("path_name", &json::is_string) ||
        !is("is_param", &json::is_boolean) || !is("use_pickle", &json::is_boolean) ||
        !is("tensor_meta", &json::is_object)) {
      throw FormatError(which +
                        " does not have just path_name, is_param, use_pickle and tensor_meta");
    }
    if (entry["use_pickle"].get<bool>()) {
      throw FormatError(which +
                        " is a pickle: nothing in a world directory is unpickled. Export a "
                        "model of plain tensors");
    }
    const auto& path = entry["path_name"].get_ref<const std::string&>();
    const std::string member = folder + path;
    if (!IsTensor(member)) {
      throw FormatError(which + ": path_name is " + Quoted(path) +
                        ", which is not that of a tensor");
    }
    used_.insert(member);
    CheckBytes(entry["tensor_meta"], Member(member).size(), which);
  }

  static void CheckBytes(const json& meta, size_t given, const std::string& which) {
    const std::string tensor = which + ": tensor_meta";
    const StoredShape shape = StoredShapeOf(meta, tensor);
    const auto item = static_cast<int64_t>(c10::elementSize(shape.dtype));
    int64_t last = 0, count = 1;  // the last element's index in memory, and how many there are
    for (size_t i = 0; i < shape.sizes.size(); ++i) {
      const int64_t size = shape.sizes[i];
      int64_t extent = 0;
      if (__builtin_mul_overflow(count, size, &count) ||
          (size > 0 && (__builtin_mul_overflow(size - 1, shape.strides[i], &extent) ||
                        __builtin_add_overflow(last, extent, &last))) ||
          last >= kMaxStoredElements) {
        throw FormatError(tensor + " describes more elements than can be stored");
      }
    }
    if (count > last + 1) {
      throw FormatError(tensor + " describes " + std::to_string(count) +
                        " elements in the memory of " + std::to_string(last + 1) +
                        "; an expanded tensor must be cloned before the export");
    }
    const int64_t needed = count == 0 ? 0 : (last + 1) * item;
    if (given != static_cast<uint64_t>(needed)) {
      throw FormatError(which + " has " + std::to_string(given) + " bytes, but its shape needs " +
                        std::to_string(needed) +
                        "; a tensor that is a part of another must be cloned before the export");
    }
  }

  ZipArchive zip_;
  const std::string& file_;
  at::DeviceType device_;
  std::string root_;
  ZipArchive::Members members_;  // their names without the root
  std::set<std::string> used_;
};

}  // namespace

std::map<std::string, ExportedGraph> CheckArchive(std::span<const std::byte> bytes,
                                                  const std::string& file,
                                                  std::span<const std::string> models,
                                                  at::DeviceType device,
                                                  const std::function<void()>& between_pieces) {
  return ArchiveChecker(bytes, file, device, between_pieces).Check(models);
}

}  // namespace genie_env
