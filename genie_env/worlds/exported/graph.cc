#include "genie_env/worlds/exported/graph.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/jit_type.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "genie_env/core/error.h"
#include "genie_env/io/json_check.h"
#include "genie_env/worlds/exported/operators.h"

namespace genie_env {
namespace {

using nlohmann::json;

constexpr size_t kMaxJsonBytes = size_t{32} << 20;
constexpr int kNodeDepth = 5;  // graph_module.graph.nodes[i]
constexpr size_t kMaxNodes = 100'000;
constexpr size_t kMaxListLength = 65'536;
constexpr size_t kMaxGraphDimensions = 16;
constexpr size_t kMaxTextBytes = 1024;
constexpr size_t kMaxTreeDepth = 16;
constexpr int64_t kMaxElements = int64_t{1} << 31;  // of a tensor, for each row
constexpr double kMaxScale = 4096;                  // of interpolation
constexpr int64_t kSchemaMajor = 8;
constexpr int64_t kStrided = 7, kMaxMemoryFormat = 4;
constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();  // of a slice

struct DtypeCode {
  int64_t code;
  at::ScalarType dtype;
};
// torch._export.serde.schema.ScalarType; complex and 8-bit floating-point types are not served.
constexpr auto kDtypeCodes = std::to_array<DtypeCode>({{1, at::kByte},
                                                       {2, at::kChar},
                                                       {3, at::kShort},
                                                       {4, at::kInt},
                                                       {5, at::kLong},
                                                       {6, at::kHalf},
                                                       {7, at::kFloat},
                                                       {8, at::kDouble},
                                                       {12, at::kBool},
                                                       {13, at::kBFloat16}});

// Operators whose second operand torch.export may write as a number, although the schema says
// tensor: LibTorch's runner then takes the overload for numbers.
constexpr auto kTakeNumbers = std::to_array<std::string_view>(
    {"add", "div", "divide", "floor_divide", "mul", "multiply", "sub", "subtract", "true_divide"});

/// A value of a graph while its nodes are checked.
struct GraphValue {
  bool is_tensor = true;
  // An integer's largest value for one row, and the power of the number of rows that it grows with.
  int64_t most = 0;
  int power = 0;
};

class GraphChecker {
 public:
  GraphChecker(const json& program, const StoredTensors& weights, const StoredTensors& constants,
               at::DeviceType device, const std::string& name)
      : program_(program), weights_(weights), constants_(constants), device_(device), name_(name) {}

  ExportedGraph Check() {
    CheckVersions();
    if (program_.contains("guards_code") && program_["guards_code"] != json::array()) {
      Fail("has \"guards_code\", which is Python code: nothing of an archive is executed");
    }
    const json& module = Object(program_, "graph_module");
    graph_ = &Object(module, "graph");
    tensor_values_ = &Object(*graph_, "tensor_values");
    for (const char* objects : {"custom_obj_values", "sym_bool_values", "sym_float_values"}) {
      if (graph_->contains(objects) && !Object(*graph_, objects).empty()) {
        Fail(std::string("has ") + objects + "; only tensors and numbers of rows are served");
      }
    }
    CheckSignature(Object(module, "signature"));
    CheckNodes();
    CheckOutputs(Object(module, "signature"));
    CheckTensorValues();
    CheckCalls(Array(module, "module_call_graph"));
    for (GraphTensor& input : checked_.inputs) input.used = used_.contains(input.name);
    return std::move(checked_);
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const { throw FormatError(name_ + " " + what); }

  [[noreturn]] void FailNode(const std::string& what) const {
    throw FormatError(name_ + ", node " + std::to_string(node_) + " (" + Shortened(target_) + ") " +
                      what);
  }

  const json& Field(const json& object, const char* key) const {
    const auto found = object.find(key);
    if (found == object.end()) Fail(std::string("has no \"") + key + "\"");
    return *found;
  }
  const json& Object(const json& object, const char* key) const {
    const json& value = Field(object, key);
    if (!value.is_object()) Fail(std::string("has a \"") + key + "\" that is not an object");
    return value;
  }
  const json& Array(const json& object, const char* key) const {
    const json& value = Field(object, key);
    if (!value.is_array()) Fail(std::string("has a \"") + key + "\" that is not a list");
    return value;
  }
  const std::string& Text(const json& object, const char* key) const {
    const json& value = Field(object, key);
    if (!value.is_string()) Fail(std::string("has a \"") + key + "\" that is not a text");
    return value.get_ref<const std::string&>();
  }

  /// The one entry of an object that says its type: {"as_int": 3} is ("as_int", 3).
  std::pair<const std::string&, const json&> Tagged(const json& value) const {
    if (!value.is_object() || value.size() != 1) {
      FailNode("has " + Shortened(value.dump()) + " where a value with its type was expected");
    }
    return {value.begin().key(), value.begin().value()};
  }

  void CheckVersions() const {
    const json& version = Object(program_, "schema_version");
    const std::string& torch = Text(program_, "torch_version");
    const std::string ours =
        std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) + ".";
    if (!torch.starts_with(ours)) {
      Fail("was made by torch " + Shortened(torch) + ", but this genie_env runs torch " + ours +
           "*: export it again with that version");
    }
    const int64_t major = IntegerOf(Field(version, "major"), 0, 1'000'000,
                                    name_ + " has a schema_version.major that");
    if (major != kSchemaMajor) {
      Fail("has the schema version " + std::to_string(major) + ", expected " +
           std::to_string(kSchemaMajor) + ": export it again");
    }
  }

  /// The name in {"name": ...}, which a tensor has.
  const std::string& NameIn(const json& argument) const {
    if (!argument.is_object() || argument.size() != 1 || !argument.contains("name") ||
        !argument["name"].is_string()) {
      FailNode("has " + Shortened(argument.dump()) + " where a tensor's name was expected");
    }
    return argument["name"].get_ref<const std::string&>();
  }

  const std::string& TensorIn(const json& argument, const std::string& what) const {
    if (!argument.is_object() || argument.size() != 1 || !argument.contains("as_tensor")) {
      Fail(what + " that is not a tensor but " + Shortened(argument.dump()) +
           "; only tensors are served");
    }
    return NameIn(argument["as_tensor"]);
  }

  void Define(const std::string& name, GraphValue value) {
    const bool sound =
        !name.empty() && name.size() <= kMaxTextBytes &&
        std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (!sound || !values_.emplace(name, value).second) {
      Fail("defines the value " + Quoted(name) +
           (sound ? " twice" : ", whose name is not of printable characters"));
    }
  }

  const GraphValue& ValueOf(const std::string& name, bool tensor) const {
    const auto found = values_.find(name);
    if (found == values_.end()) {
      FailNode("uses " + Quoted(name) + ", which no input and no node before it gives");
    }
    if (found->second.is_tensor != tensor) {
      FailNode("uses " + Quoted(name) + " as " + (tensor ? "a tensor" : "a number") +
               ", which it is not");
    }
    used_.insert(name);
    return found->second;
  }

  void CheckSignature(const json& signature) {
    const json& specs = Array(signature, "input_specs");
    const json& inputs = Array(*graph_, "inputs");
    if (specs.size() != inputs.size()) {
      Fail("has " + std::to_string(inputs.size()) + " inputs, but its signature describes " +
           std::to_string(specs.size()));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      const std::string& input = TensorIn(inputs[i], "has an input");
      Define(input, {});
      const auto& [kind, spec] = Tagged(specs[i]);
      if (!spec.is_object()) Fail("has a signature whose inputs are not objects");
      const std::string* described = nullptr;
      if (kind == "user_input") {
        described = &TensorIn(Field(spec, "arg"), "takes an input");
        checked_.inputs.push_back(OfRows(input, "input"));
      } else if (kind == "parameter") {
        described = &StoredIn(spec, "parameter_name", weights_);
      } else if (kind == "buffer") {
        const json& persistent = Field(spec, "persistent");
        if (!persistent.is_boolean()) Fail("has a buffer that is neither persistent nor not");
        described = &StoredIn(spec, "buffer_name", persistent.get<bool>() ? weights_ : constants_);
      } else if (kind == "tensor_constant") {
        described = &StoredIn(spec, "tensor_constant_name", constants_);
      } else {
        Fail("takes an input of the kind " + Quoted(kind) +
             "; only tensors, parameters and buffers are served");
      }
      if (*described != input) {
        Fail("has the input " + Quoted(input) + " where its signature describes " +
             Quoted(*described));
      }
    }
  }

  /// The input's name in `spec`, after its shape was compared with that of the stored tensor.
  const std::string& StoredIn(const json& spec, const char* key,
                              const StoredTensors& stored) const {
    const std::string& input = NameIn(Field(spec, "arg"));
    const std::string& name = Text(spec, key);
    const auto found = stored.find(name);
    if (found == stored.end()) Fail("has no stored tensor for its " + Quoted(name));
    const std::string what = name_ + ": " + Quoted(input) + " in tensor_values";
    const StoredShape here = StoredShapeOf(MetaOf(input), what);
    const StoredShape there = StoredShapeOf(found->second, name_ + ": " + Quoted(name));
    if (here.dtype != there.dtype || here.sizes != there.sizes || here.strides != there.strides) {
      Fail("describes " + Quoted(input) + " otherwise than the stored tensor " + Quoted(name));
    }
    CheckDevice(Field(MetaOf(input), "device"), "weight " + Quoted(input));
    return input;
  }

  const json& MetaOf(const std::string& value) const {
    const auto found = tensor_values_->find(value);
    if (found == tensor_values_->end() || !found->is_object()) {
      Fail("does not describe the tensor " + Quoted(value));
    }
    return *found;
  }

  bool IsOn(const json& device, std::string_view type) const {
    return device.is_object() && device.contains("type") && device["type"] == type &&
           (!device.contains("index") || device["index"].is_null() || device["index"] == 0);
  }

  std::string_view DeviceName() const { return device_ == at::kCPU ? "cpu" : "cuda"; }

  void CheckDevice(const json& device, const std::string& what) const {
    if (!IsOn(device, DeviceName())) {
      Fail("has the " + what + " on the device " + Shortened(device.dump()) + ", expected \"" +
           std::string(DeviceName()) + "\": export the model from there");
    }
  }

  /// An input or output of the graph.
  GraphTensor OfRows(const std::string& name, const std::string& kind) {
    const json& meta = MetaOf(name);
    const std::string what = kind + " " + Quoted(name);
    GraphTensor tensor{
        .name = name, .dtype = DtypeOf(Field(meta, "dtype"), name_ + ": the " + what), .shape = {}};
    const json& sizes = Array(meta, "sizes");
    if (sizes.empty() || sizes.size() > kMaxGraphDimensions) {
      Fail("has the " + what + " of " + std::to_string(sizes.size()) +
           " dimensions, expected 1 to " + std::to_string(kMaxGraphDimensions) +
           ": the first is the row");
    }
    int64_t elements = 1;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const auto& [kind_of_size, size] = Tagged(sizes[i]);
      if (i > 0 && kind_of_size != "as_int") {
        Fail("has the " + what + " whose dimension " + std::to_string(i) +
             " varies; only the first one, the row, may");
      }
      if (i > 0) {
        tensor.shape.push_back(IntegerOf(size, 0, kMaxElements, name_ + ": a size of the " + what));
        CheckElements(elements, tensor.shape.back(), what);
        continue;
      }
      const bool symbol = kind_of_size == "as_expr" && size.is_object() &&
                          size.contains("expr_str") && size["expr_str"].is_string() &&
                          size["expr_str"].get_ref<const std::string&>().starts_with("Symbol('");
      if (!symbol) {
        Fail("has the " + what + " whose first dimension is " + Shortened(sizes[0].dump()) +
             ", not the number of rows: export with dynamic_shapes of {0: Dim(\"rows\")} for every "
             "input, and let no output mix rows");
      }
      const auto& rows = size["expr_str"].get_ref<const std::string&>();
      if (rows_.empty()) rows_ = rows;
      if (rows != rows_) {
        Fail("has the " + what + " whose number of rows is another than that of the first input");
      }
      tensor.shape.push_back(-1);
    }
    return tensor;
  }

  void CheckElements(int64_t& elements, int64_t size, const std::string& what) const {
    if (__builtin_mul_overflow(elements, std::max<int64_t>(size, 1), &elements) ||
        elements > kMaxElements) {
      Fail("has the " + what + " with more than " + std::to_string(kMaxElements) +
           " elements a row");
    }
  }

  void CheckOutputs(const json& signature) {
    const json& specs = Array(signature, "output_specs");
    const json& outputs = Array(*graph_, "outputs");
    for (const json& spec : specs) {
      const auto& [kind, value] = Tagged(spec);
      if (kind.ends_with("_mutation")) {
        Fail("changes an input, parameter or buffer in place (" + Shortened(kind) +
             "): make a copy with clone(), change that, and return it as the new state");
      }
      if (kind != "user_output") {
        Fail("has an output of the kind " + Quoted(kind) + "; only results are served");
      }
    }
    if (specs.size() != outputs.size() || outputs.empty()) {
      Fail("has " + std::to_string(outputs.size()) + " outputs, but its signature describes " +
           std::to_string(specs.size()));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string& output = TensorIn(outputs[i], "has an output");
      const json& spec = specs[i]["user_output"];
      if (!spec.is_object() || TensorIn(Field(spec, "arg"), "has an output") != output) {
        Fail("has the output " + Quoted(output) + " where its signature describes another");
      }
      ValueOf(output, true);
      checked_.outputs.push_back(OfRows(output, "output"));
    }
  }

  /// The metadata of all tensors, those within the graph included.
  void CheckTensorValues() {
    for (const auto& [name, meta] : tensor_values_->items()) {
      const auto value = values_.find(name);
      if (value == values_.end() || !value->second.is_tensor || !meta.is_object()) {
        Fail("describes the tensor " + Quoted(name) + ", which it does not have");
      }
      const std::string what = "tensor " + Quoted(name);
      const at::ScalarType dtype = DtypeOf(Field(meta, "dtype"), name_ + ": the " + what);
      const json& sizes = Array(meta, "sizes");
      if (sizes.size() > kMaxGraphDimensions || Array(meta, "strides").size() != sizes.size()) {
        Fail("has the " + what + " of too many dimensions, or other strides than sizes");
      }
      int64_t elements = 1;
      bool of_rows = false;
      for (const json& size : sizes) {
        const auto& [kind, number] = Tagged(size);
        of_rows |= kind != "as_int";
        if (kind != "as_int") continue;
        CheckElements(elements,
                      IntegerOf(number, 0, kMaxElements, name_ + ": a size of the " + what), what);
      }
      const auto bytes = static_cast<int64_t>(c10::elementSize(dtype));
      if (of_rows) checked_.bytes_per_row += elements * bytes;
    }
  }

  /// How Python calls the graph. LibTorch's runner follows the nested structures without counting.
  void CheckCalls(const json& calls) const {
    if (calls.empty() || !calls[0].is_object() || !Text(calls[0], "fqn").empty()) {
      Fail("does not begin its module_call_graph with the whole model");
    }
    const json& signature = Object(calls[0], "signature");
    CheckTree(Text(signature, "in_spec"), checked_.inputs.size(), "in_spec");
    CheckTree(Text(signature, "out_spec"), checked_.outputs.size(), "out_spec");
  }

  void CheckTree(const std::string& text, size_t leaves, const std::string& what) const {
    // CheckJsonObject bounds the nesting, and takes objects only.
    const std::string object = "{\"spec\":" + text + "}";
    if (text.size() > kMaxJsonBytes / 8) Fail("has an " + what + " that is too long");
    CheckJsonObject(object, name_ + ": " + what);
    const json spec = json::parse(object)["spec"];
    size_t found = 0;
    if (!spec.is_array() || spec.size() != 2 || spec[0] != 1 || !CountLeaves(spec[1], found, 0) ||
        found != leaves) {
      Fail("has an " + what + " that is not a structure of its " + std::to_string(leaves) +
           " tensors in tuples, lists and dicts");
    }
  }

  bool CountLeaves(const json& node, size_t& leaves, size_t depth) const {
    if (depth > kMaxTreeDepth || !node.is_object() || node.size() != 3 || !node.contains("type") ||
        !node.contains("context") || !node.contains("children_spec") ||
        !node["children_spec"].is_array()) {
      return false;
    }
    const json& children = node["children_spec"];
    if (node["type"].is_null()) {
      ++leaves;
      return children.empty() && node["context"].is_null();
    }
    if (!node["context"].is_string()) return false;
    const json context = json::parse(node["context"].get_ref<const std::string&>(), nullptr, false);
    const json& type = node["type"];
    if (type == "builtins.dict") {
      const auto is_key = [](const json& key) {
        return key.is_string() || key.is_number_integer();
      };
      if (!context.is_array() || context.size() != children.size() ||
          !std::all_of(context.begin(), context.end(), is_key)) {
        return false;
      }
    } else if (!(type == "builtins.tuple" || type == "builtins.list") || !context.is_null()) {
      return false;
    }
    return std::all_of(children.begin(), children.end(),
                       [&](const json& child) { return CountLeaves(child, leaves, depth + 1); });
  }

  void CheckNodes() {
    const json& nodes = Array(*graph_, "nodes");
    if (nodes.size() > kMaxNodes) {
      Fail("has " + std::to_string(nodes.size()) + " nodes; at most " + std::to_string(kMaxNodes) +
           " are allowed");
    }
    for (const json& node : nodes) {
      if (!node.is_object()) Fail("has a node that is not an object");
      target_ = Text(node, "target");
      CheckNode(node);
      ++node_;
    }
    target_ = "output";
  }

  void CheckNode(const json& node) {
    if (!ServesOperator(target_)) FailNode(WhyNotServed(target_));
    if (node.contains("is_hop_single_tensor_return") &&
        !node["is_hop_single_tensor_return"].is_null()) {
      FailNode("runs other graphs within: only graphs without control flow are served");
    }
    if (Array(node, "inputs").empty() || !Field(node, "outputs").is_array()) {
      FailNode("has no inputs or no list of outputs");
    }
    std::map<std::string, const json*> arguments;
    for (const json& input : node["inputs"]) {
      if (!input.is_object()) FailNode("has an input that is not an object");
      const std::string& name = Text(input, "name");
      if (!arguments.emplace(name, &Field(input, "arg")).second) {
        FailNode("has the argument " + Quoted(name) + " twice");
      }
    }
    if (target_.starts_with("_operator.")) {
      CheckOfRows(arguments, node["outputs"]);
    } else {
      CheckAten(arguments, node["outputs"]);
    }
  }

  /// A sum, difference, product or quotient of numbers of rows.
  void CheckOfRows(const std::map<std::string, const json*>& arguments, const json& outputs) {
    if (arguments.size() != 2 || !arguments.contains("a") || !arguments.contains("b")) {
      FailNode("does not take just a and b");
    }
    const auto number = [this](const json& argument) {
      const auto& [kind, value] = Tagged(argument);
      if (kind == "as_sym_int") return NumberIn(value);
      if (kind != "as_int")
        FailNode("takes " + Shortened(argument.dump()) + ", expected an integer");
      return Literal(value);
    };
    const GraphValue a = number(*arguments.at("a")), b = number(*arguments.at("b"));
    GraphValue result{.is_tensor = false, .most = a.most, .power = std::max(a.power, b.power)};
    if (target_ == "_operator.floordiv") {
      if (b.power != 0 || b.most < 1 || (*arguments.at("b")).contains("as_sym_int")) {
        FailNode("divides by something other than a number above 0");
      }
      result.power = a.power;
    } else if (target_ == "_operator.mul") {
      result.power = a.power + b.power;
      if (__builtin_mul_overflow(a.most, b.most, &result.most)) result.most = kEnd;
    } else {
      result.most = a.most + b.most;
    }
    if (result.power > 1 || result.most > kMaxElements) {
      FailNode("grows beyond " + std::to_string(kMaxElements) + " times the number of rows");
    }
    if (outputs.size() != 1) FailNode("does not have one output");
    DefineNumber(outputs[0], result);
  }

  void DefineNumber(const json& output, GraphValue value) {
    const auto& [kind, name] = Tagged(output);
    if (kind != "as_sym_int" || !name.is_object() || name.size() != 1 ||
        !name.contains("as_name") || !name["as_name"].is_string()) {
      FailNode("does not give a number with a name");
    }
    Define(name["as_name"].get_ref<const std::string&>(), value);
  }

  /// A literal, by its magnitude.
  GraphValue Literal(const json& value) const {
    return {.is_tensor = false, .most = std::abs(Integer(value)), .power = 0};
  }

  int64_t Integer(const json& value) const {
    return IntegerOf(value, -kMaxElements, kMaxElements,
                     name_ + ", node " + std::to_string(node_) + " (" + Shortened(target_) +
                         ") has an argument that");
  }

  /// {"as_name": "s"} or {"as_int": 3}.
  GraphValue NumberIn(const json& argument) const {
    const auto& [kind, value] = Tagged(argument);
    if (kind == "as_int") return Literal(value);
    if (kind != "as_name" || !value.is_string()) {
      FailNode("has " + Shortened(argument.dump()) + " where a number was expected");
    }
    return ValueOf(value.get_ref<const std::string&>(), false);
  }

  void CheckAten(const std::map<std::string, const json*>& arguments, const json& outputs) {
    constexpr std::string_view kAten = "torch.ops.aten.";
    const std::string name = target_.substr(kAten.size());
    const size_t dot = name.find('.');
    const std::string overload = name.substr(dot + 1);
    const auto handle = c10::Dispatcher::singleton().findSchema(
        {"aten::" + name.substr(0, dot), overload == "default" ? "" : overload});
    if (!handle) FailNode("is not an operator of this torch");
    takes_numbers_ = overload.starts_with("Tensor") &&
                     std::binary_search(kTakeNumbers.begin(), kTakeNumbers.end(),
                                        std::string_view(name).substr(0, dot));
    has_tensor_ = false;
    const c10::FunctionSchema& schema = handle->schema();
    size_t known = 0;
    for (const c10::Argument& argument : schema.arguments()) {
      const auto given = arguments.find(argument.name());
      if (given == arguments.end()) {
        if (!argument.default_value()) {
          FailNode("lacks its argument \"" + argument.name() + "\"");
        }
        continue;
      }
      ++known;
      if (!Fits(*given->second, *argument.real_type())) {
        const bool number =
            given->second->contains("as_int") || given->second->contains("as_float");
        const bool tensor = argument.real_type()->kind() == c10::TypeKind::TensorType;
        FailNode("has the argument " + argument.name() + " = " + Shortened(given->second->dump()) +
                 ", expected a value of the type " + argument.real_type()->str() +
                 (number && tensor ? ": write torch.tensor(...) in place of the number" : ""));
      }
      CheckNumbers(argument.name(), *given->second);
    }
    if (known != arguments.size()) FailNode("has an argument that its operator does not take");
    if (takes_numbers_ && !has_tensor_) FailNode("computes with numbers alone");
    CheckInference(arguments);
    CheckResults(schema, outputs, arguments);
  }

  /// Whether the argument is of the type, and the values that it names are.
  bool Fits(const json& argument, const c10::Type& type) {
    const auto& [kind, value] = Tagged(argument);
    switch (type.kind()) {
      case c10::TypeKind::OptionalType:
        return (kind == "as_none" && value == true) ||
               Fits(argument, *type.expectRef<c10::OptionalType>().getElementType());
      case c10::TypeKind::TensorType:
        if (kind == "as_tensor") {
          ValueOf(NameIn(value), true);
          has_tensor_ = true;
          return true;
        }
        return takes_numbers_ && (kind == "as_int" || kind == "as_float") && IsNumber(kind, value);
      case c10::TypeKind::IntType:
      case c10::TypeKind::SymIntType:
        return IsInteger(kind, value);
      case c10::TypeKind::FloatType:
        return kind == "as_float" && IsNumber(kind, value);
      case c10::TypeKind::NumberType:
        return IsNumber(kind, value);
      case c10::TypeKind::BoolType:
        return kind == "as_bool" && value.is_boolean();
      case c10::TypeKind::StringType:
        return kind == "as_string" && value.is_string() &&
               value.get_ref<const std::string&>().size() <= kMaxTextBytes;
      case c10::TypeKind::DeviceObjType:
        return kind == "as_device" && IsOn(value, DeviceName());
      case c10::TypeKind::ScalarTypeType:
        if (kind == "as_scalar_type") DtypeOf(value, name_ + ": a type of " + Shortened(target_));
        return kind == "as_scalar_type";
      case c10::TypeKind::LayoutType:
        return kind == "as_layout" && value == kStrided;
      case c10::TypeKind::MemoryFormatType:
        return kind == "as_memory_format" && value.is_number_integer() && value >= 1 &&
               value <= kMaxMemoryFormat;
      case c10::TypeKind::ListType:
        return FitsList(kind, value, *type.expectRef<c10::ListType>().getElementType());
      default:
        return false;
    }
  }

  bool FitsList(const std::string& kind, const json& value, const c10::Type& element) {
    if (!value.is_array() || value.size() > kMaxListLength) return false;
    if (value.empty() && kind == "as_ints") return true;  // the serialiser's empty list
    const auto all = [&](auto fits) { return std::all_of(value.begin(), value.end(), fits); };
    const auto is_tensor = [&](const json& name) {
      ValueOf(NameIn(name), true);
      has_tensor_ = true;
      return true;
    };
    switch (element.kind()) {
      case c10::TypeKind::TensorType:
        return kind == "as_tensors" && all(is_tensor);
      case c10::TypeKind::OptionalType:
        return (kind == "as_tensors" && all(is_tensor)) ||
               (kind == "as_optional_tensors" && all([&](const json& optional) {
                  const auto& [kind_of_one, one] = Tagged(optional);
                  return (kind_of_one == "as_none" && one == true) ||
                         (kind_of_one == "as_tensor" && is_tensor(one));
                }));
      case c10::TypeKind::IntType:
      case c10::TypeKind::SymIntType:
        return (kind == "as_ints" &&
                all([&](const json& one) { return IsInteger("as_int", one); })) ||
               (kind == "as_sym_ints" &&
                all([&](const json& one) { return IsInteger("as_sym_int", one); }));
      case c10::TypeKind::FloatType:
        return kind == "as_floats" &&
               all([&](const json& one) { return IsNumber("as_float", one); });
      case c10::TypeKind::BoolType:
        return kind == "as_bools" && all([](const json& one) { return one.is_boolean(); });
      default:
        return false;
    }
  }

  bool IsInteger(std::string_view kind, const json& value) const {
    if (kind == "as_sym_int") {
      NumberIn(value);
      return true;
    }
    if (kind == "as_int" && value != kEnd) Integer(value);
    return kind == "as_int";
  }

  bool IsNumber(std::string_view kind, const json& value) const {
    if (kind == "as_float") {
      return value.is_number() || value == "Infinity" || value == "-Infinity" || value == "NaN";
    }
    if (kind == "as_bool") return value.is_boolean();
    if (kind == "as_int") {
      return value.is_number_integer() &&
             (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{kEnd});
    }
    return kind == "as_sym_int" && IsInteger(kind, value);
  }

  /// Bounds what the numbers of an argument could make LibTorch allocate.
  void CheckNumbers(const std::string& name, const json& argument) const {
    const auto& [kind, value] = Tagged(argument);
    const bool parts = name == "split_sizes" || name == "indices";  // a list of no one shape
    if (kind == "as_floats" && name.starts_with("scale")) {
      for (const json& scale : value) {
        if (!scale.is_number() || !(std::abs(scale.get<double>()) <= kMaxScale)) {
          FailNode("scales by " + Shortened(scale.dump()) + "; at most " +
                   std::to_string(static_cast<int>(kMaxScale)) + " is allowed");
        }
      }
    }
    if (parts || (kind != "as_ints" && kind != "as_sym_ints")) return;
    GraphValue product{.is_tensor = false, .most = 1, .power = 0};
    for (const json& one : value) {
      if (one == kEnd) continue;
      const GraphValue number = kind == "as_ints" ? Literal(one) : NumberIn(one);
      product.power += number.power;
      if (__builtin_mul_overflow(product.most, std::max<int64_t>(number.most, 1), &product.most) ||
          product.most > kMaxElements || product.power > 1) {
        FailNode("has the argument " + name + " = " + Shortened(value.dump()) +
                 ", which is more than " + std::to_string(kMaxElements) + " elements a row");
      }
    }
  }

  /// Arguments that would change a tensor, draw random numbers, or give a shape that depends on
  /// values.
  void CheckInference(const std::map<std::string, const json*>& arguments) const {
    const auto is = [&](const char* name, const char* kind, const json& expected) {
      const auto found = arguments.find(name);
      return found != arguments.end() && found->second->contains(kind) &&
             (*found->second)[kind] == expected;
    };
    const auto operator_is = [&](std::string_view name) {
      return std::string_view(target_).substr(15).starts_with(name);
    };
    const bool recurrent = operator_is("lstm.input") || operator_is("gru.input") ||
                           operator_is("rnn_tanh.input") || operator_is("rnn_relu.input");
    if (recurrent && !is("train", "as_bool", false)) {
      FailNode("was exported for training: call eval() on the model before it is exported");
    }
    if (operator_is("batch_norm.") && !is("training", "as_bool", false)) {
      FailNode("was exported for training: call eval() on the model before it is exported");
    }
    if (operator_is("instance_norm.") && is("use_input_stats", "as_bool", true) &&
        !is("running_mean", "as_none", true)) {
      FailNode("was exported for training: call eval() on the model before it is exported");
    }
    if (operator_is("scaled_dot_product_attention.") && arguments.contains("dropout_p") &&
        !is("dropout_p", "as_float", 0.0)) {
      FailNode("drops out at random: call it with dropout_p=0");
    }
    if (operator_is("one_hot.") &&
        (!arguments.contains("num_classes") || is("num_classes", "as_int", -1))) {
      FailNode("has as many classes as its largest value: give num_classes");
    }
    if (operator_is("index.")) {
      const auto& [kind, list] = Tagged(*arguments.at("indices"));
      for (const json& index : list) {
        const json& name = kind == "as_tensors" ? index : Tagged(index).second;
        if (!name.is_object()) continue;
        const at::ScalarType dtype =
            DtypeOf(Field(MetaOf(NameIn(name)), "dtype"), name_ + ": an index");
        if (dtype == at::kBool || dtype == at::kByte) {
          FailNode(
              "takes the elements where a mask is true, so that the shape depends on values: "
              "use torch.where or masked_fill, which keep the shape");
        }
      }
    }
    if (operator_is("arange.") || operator_is("eye.") || operator_is("linspace.")) {
      CheckCount(arguments);
    }
  }

  /// What arange, linspace and eye would allocate.
  void CheckCount(const std::map<std::string, const json*>& arguments) const {
    double count = 1, rows_side = 1;
    int power = 0;
    for (const auto& [name, argument] : arguments) {
      const auto& [kind, value] = Tagged(*argument);
      double number = 0;
      if (kind == "as_sym_int") {
        const GraphValue given = NumberIn(value);
        number = static_cast<double>(given.most), power += given.power;
      } else if ((kind == "as_int" || kind == "as_float") && value.is_number()) {
        number = std::abs(value.get<double>());
      } else {
        continue;
      }
      if (name == "step") {
        count /= std::min(number, 1.0);
      } else if (name == "n" || name == "m") {
        rows_side *= std::max(number, 1.0);
        if (!arguments.contains("m")) rows_side *= std::max(number, 1.0), power *= 2;
      } else if (!target_.ends_with("linspace.default") || name == "steps") {
        count = std::max(count, 1.0) * 1.0 + number;
      }
    }
    if (!(count * rows_side <= static_cast<double>(kMaxElements)) || power > 1) {
      FailNode("gives more than " + std::to_string(kMaxElements) + " elements a row");
    }
  }

  void CheckResults(const c10::FunctionSchema& schema, const json& outputs,
                    const std::map<std::string, const json*>& arguments) {
    const std::vector<c10::Argument>& returns = schema.returns();
    // Several results stand one by one, unless they are one list.
    if (outputs.size() != returns.size()) {
      FailNode("has " + std::to_string(outputs.size()) + " outputs, but its operator gives " +
               std::to_string(returns.size()));
    }
    bool tensors = false, described = false;
    const auto define = [&](const std::string& name) {
      tensors = true;
      Define(name, {});
      const auto meta = tensor_values_->find(name);
      if (meta == tensor_values_->end()) return;  // torch does not describe what nobody uses
      described = true;
      const bool fits = meta->is_object() && meta->contains("device") &&
                        IsOn((*meta)["device"], device_ == at::kCPU ? "meta" : DeviceName());
      if (!fits) {
        FailNode(
            "says that its result " + Quoted(name) + " is on another device than \"" +
            (device_ == at::kCPU ? "meta" : std::string(DeviceName())) +
            "\", which results of exported worlds name: freeze the world with genie-env, which "
            "sets it");
      }
    };
    for (size_t i = 0; i < returns.size(); ++i) {
      const auto& [kind, value] = Tagged(outputs[i]);
      const c10::TypeKind type = returns[i].real_type()->kind();
      if (type == c10::TypeKind::TensorType && kind == "as_tensor") {
        define(NameIn(value));
      } else if (type == c10::TypeKind::ListType && kind == "as_tensors" && value.is_array()) {
        for (const json& one : value) define(NameIn(one));
      } else if (type == c10::TypeKind::IntType || type == c10::TypeKind::SymIntType) {
        DefineNumber(outputs[i], SizeIn(arguments));
      } else {
        FailNode("has an output of another type than its operator gives");
      }
    }
    if (tensors && !described) FailNode("has no result that the graph describes");
  }

  /// What aten.sym_size gives: the number of rows, or a size, of a tensor of the graph.
  GraphValue SizeIn(const std::map<std::string, const json*>& arguments) const {
    const json& sizes = Array(MetaOf(NameIn((*arguments.at("self"))["as_tensor"])), "sizes");
    const auto& [kind, value] = Tagged(*arguments.at("dim"));
    const int64_t count = std::ssize(sizes);
    const int64_t dimension = kind == "as_int" ? Integer(value) : count;
    if (dimension < -count || dimension >= count)
      FailNode("asks for a dimension that is not there");
    const auto& [kind_of_size, size] =
        Tagged(sizes[static_cast<size_t>(dimension < 0 ? dimension + count : dimension)]);
    if (kind_of_size == "as_int") return Literal(size);
    return {.is_tensor = false, .most = 1, .power = 1};
  }

  const json& program_;
  const StoredTensors& weights_;
  const StoredTensors& constants_;
  const at::DeviceType device_;
  const std::string& name_;
  const json* graph_ = nullptr;
  const json* tensor_values_ = nullptr;
  std::map<std::string, GraphValue> values_;
  mutable std::set<std::string> used_;  // of the values, those that nodes or outputs read
  std::string rows_;                    // the symbol of the number of rows
  size_t node_ = 0;                     // the node that is being checked,
  std::string target_ = "input";        // its operator,
  bool takes_numbers_ = false;          // whether numbers may stand for its tensors,
  bool has_tensor_ = false;             // and whether it takes a tensor
  ExportedGraph checked_;
};

}  // namespace

json ParseArchiveJson(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() > kMaxJsonBytes) {
    throw FormatError(name + " has " + std::to_string(bytes.size()) + " bytes; at most " +
                      std::to_string(kMaxJsonBytes) + " are allowed");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  CheckJsonObject(text, name);
  return json::parse(text, [](int depth, json::parse_event_t event, json& parsed) {
    return event != json::parse_event_t::key || depth != kNodeDepth || parsed != "metadata";
  });
}

at::ScalarType DtypeOf(const json& code, const std::string& what) {
  if (code.is_number_integer()) {
    for (const DtypeCode& entry : kDtypeCodes) {
      if (code == entry.code) return entry.dtype;
    }
  }
  throw FormatError(what + " has the dtype " + Shortened(code.dump()) +
                    ", expected 1 to 8, 12 or 13: integers, floating-point numbers or bool");
}

int64_t IntegerOf(const json& value, int64_t least, int64_t most, const std::string& what) {
  const bool integer = value.is_number_integer() &&
                       (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{kEnd});
  if (!integer || value.get<int64_t>() < least || value.get<int64_t>() > most) {
    throw FormatError(what + " is " + Shortened(value.dump()) + ", expected an integer from " +
                      std::to_string(least) + " to " + std::to_string(most));
  }
  return value.get<int64_t>();
}

StoredShape StoredShapeOf(const json& meta, const std::string& what) {
  const auto number = [&](const json& size, const char* key) {
    if (!size.is_object() || size.size() != 1 || !size.contains("as_int")) {
      throw FormatError(what + ": " + key + " holds " + Shortened(size.dump()) +
                        ", expected a number");
    }
    return IntegerOf(size["as_int"], 0, kEnd, what + ": " + key);
  };
  for (const char* key : {"dtype", "sizes", "strides", "storage_offset", "layout"}) {
    if (!meta.contains(key)) throw FormatError(what + " has no \"" + key + "\"");
  }
  StoredShape shape{.dtype = DtypeOf(meta["dtype"], what), .sizes = {}, .strides = {}};
  for (const auto& [key, numbers] :
       {std::pair("sizes", &shape.sizes), std::pair("strides", &shape.strides)}) {
    if (!meta[key].is_array() || meta[key].size() > kMaxGraphDimensions) {
      throw FormatError(what + ": " + key + " is not a list of at most " +
                        std::to_string(kMaxGraphDimensions) + " numbers");
    }
    for (const json& size : meta[key]) numbers->push_back(number(size, key));
  }
  if (shape.sizes.size() != shape.strides.size()) {
    throw FormatError(what + " has other strides than sizes");
  }
  if (number(meta["storage_offset"], "storage_offset") != 0 || meta["layout"] != kStrided) {
    throw FormatError(what +
                      " is a part of another tensor, or not strided: clone it before the "
                      "export");
  }
  return shape;
}

ExportedGraph CheckGraph(const json& program, const StoredTensors& weights,
                         const StoredTensors& constants, at::DeviceType device,
                         const std::string& name) {
  return GraphChecker(program, weights, constants, device, name).Check();
}

}  // namespace genie_env
