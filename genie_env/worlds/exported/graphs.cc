#include "genie_env/worlds/exported/graphs.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/narrow.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/io/json_check.h"
#include "genie_env/tensor/check_tensor.h"
#include "genie_env/worlds/check_arguments.h"
#include "genie_env/worlds/exported/compiled_folder.h"

namespace genie_env {
namespace {

std::vector<int64_t> OfAnyRows(const std::vector<int64_t>& shape) {
  std::vector<int64_t> whole{-1};
  whole.insert(whole.end(), shape.begin(), shape.end());
  return whole;
}

// What a graph takes and gives, built in the order of the table in world.h.
class SignatureBuilder {
 public:
  explicit SignatureBuilder(const ExportedConfig& config) : config_(config) {}

  ExportedGraph Initial() const {
    ExportedGraph graph;
    Add(graph.inputs, "context", config_.context);
    AddNoise(graph.inputs);
    Add(graph.outputs, "state", config_.state);
    AddObservations(graph.outputs);
    return graph;
  }

  ExportedGraph Step() const {
    ExportedGraph graph = Acting();
    Add(graph.inputs, "temperature", at::kFloat, {});
    AddNoise(graph.inputs);
    return graph;
  }

  ExportedGraph Follow() const {
    ExportedGraph graph = Acting();
    Add(graph.inputs, "frame", at::kByte, {config_.height, config_.width, 3});
    AddNoise(graph.inputs);
    return graph;
  }

  ExportedGraph Render() const {
    ExportedGraph graph;
    Add(graph.inputs, "state", config_.state);
    Add(graph.outputs, "frame", at::kByte, {config_.height, config_.width, 3});
    return graph;
  }

 private:
  static void Add(std::vector<GraphTensor>& tensors, std::string name, at::ScalarType type,
                  const std::vector<int64_t>& shape) {
    tensors.push_back({.name = std::move(name), .dtype = type, .shape = OfAnyRows(shape)});
  }

  static void Add(std::vector<GraphTensor>& tensors, const std::string& of,
                  const std::vector<ExportedTensor>& added) {
    for (const ExportedTensor& each : added) {
      Add(tensors, of + " " + Quoted(each.name), TorchType(each.type), each.shape);
    }
  }

  void AddNoise(std::vector<GraphTensor>& tensors) const {
    for (const ExportedNoise& each : config_.noise) {
      Add(tensors, "noise " + Quoted(each.name), at::kFloat, each.shape);
    }
  }

  void AddObservations(std::vector<GraphTensor>& tensors) const {
    for (const TensorSpec& each : config_.observations) {
      Add(tensors, "observation " + Quoted(each.name), TorchType(each.dtype), each.shape);
    }
  }

  ExportedGraph Acting() const {
    ExportedGraph graph;
    Add(graph.inputs, "state", config_.state);
    Add(graph.inputs, "action", ActionType(config_.actions), ActionShape(config_.actions, {}));
    Add(graph.outputs, "state", config_.state);
    Add(graph.outputs, "reward", at::kFloat, {});
    if (config_.termination != Termination::kNever) {
      Add(graph.outputs, "terminated_probability", at::kFloat, {});
    }
    AddObservations(graph.outputs);
    return graph;
  }

  const ExportedConfig& config_;
};

// The archive's side of a list must be that of config.json.
void CheckSide(const std::string& place, const char* verb, const std::vector<GraphTensor>& stored,
               const std::vector<GraphTensor>& expected) {
  if (stored.size() != expected.size()) {
    throw FormatError(place + " " + verb + " " + std::to_string(stored.size()) +
                      " tensors, but config.json says " + std::to_string(expected.size()));
  }
  for (size_t i = 0; i < stored.size(); ++i) {
    if (stored[i].dtype == expected[i].dtype && stored[i].shape == expected[i].shape) continue;
    throw FormatError(place + " " + verb + " " + Describe(stored[i].dtype, stored[i].shape) +
                      " as its " + expected[i].name + ", but config.json says " +
                      Describe(expected[i].dtype, expected[i].shape));
  }
}

}  // namespace

at::ScalarType TorchType(StoredType type) {
  switch (type) {
    case StoredType::kBool:
      return at::kBool;
    case StoredType::kUInt8:
      return at::kByte;
    case StoredType::kInt64:
      return at::kLong;
    case StoredType::kFloat16:
      return at::kHalf;
    case StoredType::kBFloat16:
      return at::kBFloat16;
    case StoredType::kFloat32:
      return at::kFloat;
    case StoredType::kFloat64:
      return at::kDouble;
  }
  throw std::logic_error("a stored type that there is not");
}

at::ScalarType TorchType(DType type) {
  return type == DType::kUInt8 ? at::kByte : type == DType::kInt64 ? at::kLong : at::kFloat;
}

LoadedGraph::LoadedGraph(ExportedGraph signature, GraphRunner runner, at::Device device)
    : signature_(std::move(signature)), runner_(std::move(runner)), device_(device) {}

std::vector<at::Tensor> LoadedGraph::Run(const std::vector<at::Tensor>& inputs,
                                         int64_t rows) const {
  if (rows == 0) return Empty();  // which not every operator can compute
  constexpr int64_t kBytesAtOnce = int64_t{1} << 28, kFewest = 16;
  const int64_t at_once =
      std::max(kFewest, kBytesAtOnce / std::max<int64_t>(signature_.bytes_per_row, 1));
  if (rows <= at_once) return RunPart(inputs, rows);
  const int64_t parts = (rows + at_once - 1) / at_once, size = (rows + parts - 1) / parts;
  std::vector<std::vector<at::Tensor>> outputs(signature_.outputs.size());
  for (int64_t first = 0; first < rows; first += size) {
    const int64_t count = std::min(size, rows - first);
    std::vector<at::Tensor> part;
    part.reserve(inputs.size());
    for (const at::Tensor& input : inputs) part.push_back(input.narrow(0, first, count));
    std::vector<at::Tensor> given = RunPart(part, count);
    for (size_t i = 0; i < given.size(); ++i) outputs[i].push_back(std::move(given[i]));
  }
  std::vector<at::Tensor> together;
  together.reserve(outputs.size());
  for (const std::vector<at::Tensor>& each : outputs) together.push_back(at::cat(each));
  return together;
}

std::vector<at::Tensor> LoadedGraph::RunPart(const std::vector<at::Tensor>& inputs,
                                             int64_t rows) const {
  std::vector<at::Tensor> outputs = runner_.Run(inputs);
  if (outputs.size() != signature_.outputs.size()) {
    throw std::runtime_error(runner_.place() + " gave " + std::to_string(outputs.size()) +
                             " tensors, expected " + std::to_string(signature_.outputs.size()));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::vector<int64_t> shape = signature_.outputs[i].shape;
    shape[0] = rows;
    const at::ScalarType dtype = signature_.outputs[i].dtype;
    if (outputs[i].defined() && outputs[i].sizes() == at::IntArrayRef(shape) &&
        outputs[i].scalar_type() == dtype) {
      continue;
    }
    throw std::runtime_error(
        runner_.place() + " gave " +
        (outputs[i].defined() ? Describe(outputs[i]) : std::string("nothing")) + " as its " +
        signature_.outputs[i].name + ", expected " + Describe(dtype, shape));
  }
  return outputs;
}

std::vector<at::Tensor> LoadedGraph::Empty() const {
  std::vector<at::Tensor> outputs;
  for (const GraphTensor& output : signature_.outputs) {
    std::vector<int64_t> shape = output.shape;
    shape[0] = 0;
    outputs.push_back(at::empty(shape, at::TensorOptions(device_).dtype(output.dtype)));
  }
  return outputs;
}

ExportedGraphs LoadGraphs(const WorldDirectory& directory, const ExportedConfig& config,
                          at::Device device, bool compiled) {
  const SignatureBuilder builder(config);
  std::map<std::string, ExportedGraph> expected{{"initial", builder.Initial()},
                                                {"step", builder.Step()}};
  if (config.follows) expected.emplace("follow", builder.Follow());
  if (config.renders()) expected.emplace("render", builder.Render());
  std::vector<std::string> names;
  names.reserve(expected.size());
  for (const auto& [name, signature] : expected) names.push_back(name);

  const std::filesystem::path file = directory.weights_file();
  const std::map<std::string, ExportedGraph> stored =
      CheckArchive(directory.weights.bytes(), file.string(), names, device.type());
  for (auto& [name, signature] : expected) {
    const std::string place = file.string() + ": the graph \"" + name + "\"";
    const ExportedGraph& own = stored.at(name);
    CheckSide(place, "takes", own.inputs, signature.inputs);
    CheckSide(place, "gives", own.outputs, signature.outputs);
    for (size_t i = 0; i < own.inputs.size(); ++i) {
      signature.inputs[i].used = own.inputs[i].used;
    }
    signature.bytes_per_row = own.bytes_per_row;
  }
  std::filesystem::path folder;
  if (compiled) CheckCompiled(folder = CompiledFolder(directory.fingerprint));
  const auto load = [&](const std::string& name) {
    return LoadedGraph(
        std::move(expected.at(name)),
        compiled ? GraphRunner::Compiled(folder / (name + ".pt2"), name) : GraphRunner(file, name),
        device);
  };
  ExportedGraphs graphs{.initial = load("initial"), .step = load("step")};
  if (config.follows) graphs.follow.emplace(load("follow"));
  if (config.renders()) graphs.render.emplace(load("render"));
  if (!directory.weights.IsStill(file)) {
    throw FormatError(file.string() + " was replaced while it was loaded");
  }
  return graphs;
}

}  // namespace genie_env
