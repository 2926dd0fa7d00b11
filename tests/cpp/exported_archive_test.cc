#include <ATen/core/dispatch/Dispatcher.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/headeronly/version.h>
#include <torch/nativert/ModelRunnerHandle.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "genie_env/core/error.h"
#include "genie_env/worlds/exported/archive.h"
#include "genie_env/worlds/exported/operators.h"
#include "tests/cpp/files.h"
#include "tests/cpp/zip_bytes.h"

namespace genie_env {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::vector<std::string> kModels{"step"};
constexpr const char* kRows = "Symbol('s0', positive=True, integer=True)";

json Tensor(const std::string& name) { return {{"as_tensor", {{"name", name}}}}; }

json Meta(int dtype, const json& sizes, const json& strides, const char* device) {
  const auto numbers = [](const json& list) {
    json numbers = json::array();
    for (const json& number : list) {
      numbers.push_back(number == "rows"
                            ? json{{"as_expr", {{"expr_str", kRows}, {"hint", nullptr}}}}
                            : json{{"as_int", number}});
    }
    return numbers;
  };
  return {{"dtype", dtype},
          {"sizes", numbers(sizes)},
          {"strides", numbers(strides)},
          {"storage_offset", {{"as_int", 0}}},
          {"layout", 7},
          {"requires_grad", false},
          {"device", {{"type", device}, {"index", nullptr}}}};
}

json Argument(const char* name, const json& argument) {
  return {{"name", name}, {"arg", argument}, {"kind", 1}};
}

json Node(const char* target, const json& inputs, const json& outputs) {
  return {{"target", target},
          {"inputs", inputs},
          {"outputs", outputs},
          {"metadata", json::object()},
          {"is_hop_single_tensor_return", nullptr},
          {"name", "node"}};
}

json Leaves(size_t count) {
  json children = json::array();
  for (size_t i = 0; i < count; ++i) {
    children.push_back({{"type", nullptr}, {"context", nullptr}, {"children_spec", json::array()}});
  }
  return {{"type", "builtins.tuple"}, {"context", "null"}, {"children_spec", children}};
}

/// y = x.expand(rows, 3) * scale * 2: as torch.export writes it, but for what nobody reads.
json Program() {
  const json dict = {
      {"type", "builtins.dict"}, {"context", "[]"}, {"children_spec", json::array()}};
  const json arguments = {
      {"type", "builtins.tuple"}, {"context", "null"}, {"children_spec", {Leaves(1), dict}}};
  const json rows = {{"as_sym_int", {{"as_name", "n"}}}};
  json graph = {
      {"inputs", json::array({Tensor("scale"), Tensor("x")})},
      {"outputs", json::array({Tensor("y")})},
      {"nodes",
       {Node("torch.ops.aten.sym_size.int",
             {Argument("self", Tensor("x")), Argument("dim", {{"as_int", 0}})},
             json::array({rows})),
        Node("torch.ops.aten.expand.default",
             {Argument("self", Tensor("x")),
              Argument("size", {{"as_sym_ints", {{{"as_name", "n"}}, {{"as_int", 3}}}}})},
             json::array({Tensor("wide")})),
        Node("torch.ops.aten.mul.Tensor",
             {Argument("self", Tensor("wide")), Argument("other", {{"as_float", 2.0}})},
             json::array({Tensor("twice")})),
        Node("torch.ops.aten.mul.Tensor",
             {Argument("self", Tensor("twice")), Argument("other", Tensor("scale"))},
             json::array({Tensor("y")}))}},
      {"tensor_values",
       {{"scale", Meta(7, json::array({3}), json::array({1}), "cpu")},
        {"x", Meta(7, {"rows", 1}, {1, 1}, "cpu")},
        {"wide", Meta(7, {"rows", 3}, {1, 0}, "meta")},
        {"twice", Meta(7, {"rows", 3}, {3, 1}, "meta")},
        {"y", Meta(7, {"rows", 3}, {3, 1}, "meta")}}},
      {"sym_int_values", {{"n", {{"as_expr", {{"expr_str", kRows}, {"hint", nullptr}}}}}}},
      {"sym_bool_values", json::object()},
      {"sym_float_values", json::object()},
      {"custom_obj_values", json::object()},
      {"is_single_tensor_return", false}};
  json signature = {
      {"input_specs",
       {{{"buffer",
          {{"arg", {{"name", "scale"}}}, {"buffer_name", "m.scale"}, {"persistent", true}}}},
        {{"user_input", {{"arg", Tensor("x")}}}}}},
      {"output_specs", json::array({{{"user_output", {{"arg", Tensor("y")}}}}})}};
  json call = {{"fqn", ""},
               {"signature",
                {{"inputs", json::array()},
                 {"outputs", json::array()},
                 {"in_spec", json::array({1, arguments}).dump()},
                 {"out_spec", json::array({1, Leaves(1)}).dump()},
                 {"forward_arg_names", json::array({"x"})}}}};
  const std::string version =
      std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) + ".0";
  return {{"graph_module",
           {{"graph", graph},
            {"signature", signature},
            {"module_call_graph", json::array({call})},
            {"metadata", json::object()},
            {"treespec_namedtuple_fields", json::object()}}},
          {"opset_version", {{"aten", 10}}},
          {"range_constraints", {{"s0", {{"min_val", 1}, {"max_val", nullptr}}}}},
          {"schema_version", {{"major", 8}, {"minor", 17}}},
          {"verifiers", json::array({"ATEN"})},
          {"torch_version", version},
          {"guards_code", json::array()}};
}

json Weights() {
  return {{"config",
           {{"m.scale",
             {{"path_name", "weight_0"},
              {"is_param", false},
              {"use_pickle", false},
              {"tensor_meta", Meta(7, json::array({3}), json::array({1}), "cpu")}}}}}};
}

/// The members of an archive, which tests then spoil.
struct Archive {
  json program = Program(), weights = Weights();
  std::string weight = std::string("\0\0\x80\x3F\0\0\0\x40\0\0\x40\x40", 12);  // 1, 2, 3
  std::string format = "pt2", version = "0", byteorder = "little";
  std::vector<ZipPart> more = {};

  std::string Bytes() const {
    std::vector<ZipPart> parts{
        {.name = "a/data/weights/weight_0", .bytes = weight},
        {.name = "a/data/weights/step_weights_config.json", .bytes = weights.dump()},
        {.name = "a/data/constants/step_constants_config.json", .bytes = R"({"config": {}})"},
        {.name = "a/models/step.json", .bytes = program.dump()},
        {.name = "a/archive_format", .bytes = format},
        {.name = "a/archive_version", .bytes = version},
        {.name = "a/byteorder", .bytes = byteorder},
        {.name = "a/.data/version", .bytes = "6\n"}};
    parts.insert(parts.end(), more.begin(), more.end());
    return ZipBytes(parts);
  }

  json& graph() { return program["graph_module"]["graph"]; }
  json& node(size_t i) { return graph()["nodes"][i]; }
  json& argument(size_t i, size_t j) { return node(i)["inputs"][j]["arg"]; }
};

std::map<std::string, ExportedGraph> Check(const Archive& archive,
                                           at::DeviceType device = at::kCPU) {
  const std::string bytes = archive.Bytes();
  return CheckArchive(std::as_bytes(std::span(bytes)), "x.pt2", kModels, device);
}

/// What is said of an archive that `spoil` has changed.
std::string ErrorAfter(const std::function<void(Archive&)>& spoil) {
  Archive archive;
  spoil(archive);
  const std::string error = TextOf<FormatError>([&] { Check(archive); });
  EXPECT_THAT(error, StartsWith("x.pt2: "));
  return error;
}

TEST(ExportedArchive, SaysWhatItsGraphsTakeAndGive) {
  const auto graphs = Check({});
  ASSERT_EQ(graphs.size(), 1U);
  const ExportedGraph& step = graphs.at("step");
  ASSERT_EQ(step.inputs.size(), 1U);
  EXPECT_EQ(step.inputs[0].name, "x");
  EXPECT_EQ(step.inputs[0].dtype, at::kFloat);
  EXPECT_THAT(step.inputs[0].shape, ElementsAre(-1, 1));
  ASSERT_EQ(step.outputs.size(), 1U);
  EXPECT_EQ(step.outputs[0].name, "y");
  EXPECT_THAT(step.outputs[0].shape, ElementsAre(-1, 3));
}

// Also that results "on the meta device" are computed by torch's own operators: its runner's
// kernels would read beyond the expanded tensor.
TEST(ExportedArchive, LibTorchComputesWhatWasChecked) {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "model.pt2";
  WriteBytes(file, Archive().Bytes());
  torch::nativert::ModelRunnerHandle runner(file.string(), "step");
  for (const int64_t rows : {1, 1000}) {
    const at::Tensor x = at::arange(rows, at::kFloat).unsqueeze(1);
    const auto outputs = runner.runWithFlatInputsAndOutputs({x});
    ASSERT_EQ(outputs.size(), 1U);
    EXPECT_TRUE(at::equal(outputs[0].toTensor(), x * at::tensor({2.0F, 4.0F, 6.0F})));
  }
}

TEST(ExportedArchive, RefusesMembersThatWouldBeUnpickledOrExecuted) {
  const std::vector<std::pair<std::string, std::string>> members{
      {"data/sample_inputs/step.pt", "sample inputs are a pickle"},
      {"data/weights/step.pt", "it is a pickle"},
      {"data/constants/custom_obj_0", "a custom object is a pickle"},
      {"data/aotinductor/step/x.so", "it holds native code"},
      {"data/executorch/x", "it is a program of ExecuTorch"},
      {"extra/x.so", "it is native code"},
      {"xl_model_weights/x", "it is not a graph"},
      {"data/weights/weight_", "it is not a graph"},
      {"data/weights/weight_0x", "it is not a graph"}};
  for (const auto& [name, words] : members) {
    EXPECT_THAT(
        ErrorAfter([&](Archive& archive) { archive.more = {{.name = "a/" + name, .bytes = "x"}}; }),
        AllOf(HasSubstr("a/" + name), HasSubstr(words),
              HasSubstr("nothing in a world directory is unpickled or executed")));
  }
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.weights["config"]["m.scale"]["use_pickle"] = true;
              }),
              HasSubstr("tensor \"m.scale\" is a pickle"));
}

TEST(ExportedArchive, RefusesOtherMembersThanThoseOfItsGraphs) {
  const auto with = [](const std::string& name) {
    return [name](Archive& archive) { archive.more = {{.name = name, .bytes = "abcd"}}; };
  };
  EXPECT_THAT(ErrorAfter(with("b/x")), HasSubstr("does not lie in the archive's one folder"));
  EXPECT_THAT(ErrorAfter(with("x")), HasSubstr("does not lie in the archive's one folder"));
  EXPECT_THAT(ErrorAfter(with("a/models/other.json")),
              HasSubstr("is a graph that this world does not have"));
  EXPECT_THAT(ErrorAfter(with("a/data/weights/weight_1")), HasSubstr("is a tensor of no graph"));
  const std::string bytes = Archive().Bytes();
  const std::vector<std::string> more{"step", "render"};
  EXPECT_THAT(
      TextOf<FormatError>([&] { CheckArchive(std::as_bytes(std::span(bytes)), "x.pt2", more); }),
      HasSubstr("it has no member \"a/data/weights/render_weights_config.json\""));
  Archive empty;
  empty.more = {{.name = "a/data/sample_inputs/step.pt", .bytes = ""}};
  EXPECT_NO_THROW(Check(empty));
}

TEST(ExportedArchive, RefusesOtherVersions) {
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.program["torch_version"] = "2.10.0+cpu"; }),
              AllOf(HasSubstr("the graph \"step\" was made by torch 2.10.0+cpu, but"),
                    HasSubstr("export it again")));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.program["schema_version"]["major"] = 9; }),
              HasSubstr("schema version 9, expected 8"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.format = "pt3"; }),
              HasSubstr("\"a/archive_format\" is \"pt3\", expected \"pt2\""));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.version = "1"; }),
              HasSubstr("expected \"0\""));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.byteorder = "big"; }),
              HasSubstr("expected \"little\""));
}

TEST(ExportedArchive, RefusesWeightsOfOtherSizesThanTheirBytes) {
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.weight.resize(11); }),
              HasSubstr("tensor \"m.scale\" has 11 bytes, but its shape needs 12"));
  const auto with = [](const json& sizes, const json& strides) {
    return [=](Archive& archive) {
      archive.weights["config"]["m.scale"]["tensor_meta"] = Meta(7, sizes, strides, "cpu");
    };
  };
  EXPECT_THAT(ErrorAfter(with(json::array({4}), json::array({1}))),
              HasSubstr("has 12 bytes, but its shape needs 16"));
  EXPECT_THAT(ErrorAfter(with(json::array({2}), json::array({1}))),
              HasSubstr("has 12 bytes, but its shape needs 8"));
  EXPECT_THAT(ErrorAfter(with(json::array({3}), json::array({INT64_MAX}))),
              HasSubstr("more elements than can be stored"));
  EXPECT_THAT(ErrorAfter(with({INT64_MAX, INT64_MAX}, {1, 1})), HasSubstr("more elements"));
  EXPECT_THAT(ErrorAfter(with({5, 3}, {0, 1})), HasSubstr("an expanded tensor must be cloned"));
  EXPECT_THAT(ErrorAfter(with(json::array({-1}), json::array({1}))),
              HasSubstr("is -1, expected an integer from 0"));
  EXPECT_THAT(ErrorAfter(with(json::array({3}), json::array())),
              HasSubstr("other strides than sizes"));
  // LibTorch believes the graph, not the configuration.
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.graph()["tensor_values"]["scale"] =
                    Meta(7, json::array({300}), json::array({1}), "cpu");
              }),
              HasSubstr("describes \"scale\" otherwise than the stored tensor \"m.scale\""));
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.weights["config"]["m.scale"]["tensor_meta"]["storage_offset"]["as_int"] = 1;
              }),
              HasSubstr("is a part of another tensor"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.weights["config"]["m.scale"]["path_name"] = "../weight_0";
              }),
              HasSubstr("which is not that of a tensor"));
}

TEST(ExportedArchive, EveryTensorThatGoesInOrOutHasRowsFirst) {
  const auto with = [](const char* name, const json& sizes) {
    return [=](Archive& archive) {
      archive.graph()["tensor_values"][name] = Meta(7, sizes, sizes, *name == 'x' ? "cpu" : "meta");
    };
  };
  EXPECT_THAT(ErrorAfter(with("x", {2, 1})), HasSubstr("not the number of rows: export with"));
  EXPECT_THAT(ErrorAfter(with("y", {2, 3})), HasSubstr("not the number of rows"));
  EXPECT_THAT(ErrorAfter(with("y", json::array())), HasSubstr("of 0 dimensions, expected 1 to 16"));
  EXPECT_THAT(ErrorAfter(with("y", {"rows", "rows"})),
              HasSubstr("whose dimension 1 varies; only the first one, the row, may"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.graph()["tensor_values"]["y"]["sizes"][0]["as_expr"]["expr_str"] =
                    "Symbol('s1')";
              }),
              HasSubstr("another than that of the first input"));
}

TEST(ExportedArchive, RefusesGraphsThatChangeTheirInputs) {
  EXPECT_THAT(
      ErrorAfter([](Archive& archive) {
        archive.program["graph_module"]["signature"]["output_specs"][0] = {
            {"user_input_mutation", {{"arg", {{"name", "y"}}}, {"user_input_name", "x"}}}};
      }),
      AllOf(HasSubstr("changes an input, parameter or buffer in place"), HasSubstr("clone()")));
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.node(3)["target"] = "torch.ops.aten.mul_.Tensor";
              }),
              HasSubstr("node 3 (torch.ops.aten.mul_.Tensor) changes a tensor in place"));
}

TEST(ExportedArchive, NodesUseWhatWasGivenBefore) {
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.argument(2, 0) = Tensor("y"); }),
              HasSubstr("uses \"y\", which no input and no node before it gives"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.argument(2, 0) = Tensor("n"); }),
              HasSubstr("uses \"n\" as a tensor, which it is not"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.node(2)["outputs"][0] = Tensor("x"); }),
              HasSubstr("defines the value \"x\" twice"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.graph()["outputs"][0] = Tensor("twice"); }),
              HasSubstr("has the output \"twice\" where its signature describes another"));
}

TEST(ExportedArchive, ArgumentsFitTheirOperator) {
  const auto with = [](size_t i, size_t j, const json& argument) {
    return [=](Archive& archive) { archive.argument(i, j) = argument; };
  };
  EXPECT_THAT(ErrorAfter(with(3, 1, {{"as_string", "x"}})),
              AllOf(HasSubstr("has the argument other = {\"as_string\":\"x\"}"),
                    HasSubstr("expected a value of the type Tensor")));
  EXPECT_THAT(ErrorAfter(with(3, 1, {{"as_none", true}})), HasSubstr("of the type Tensor"));
  EXPECT_THAT(ErrorAfter(with(2, 0, {{"as_float", 1.0}})),
              HasSubstr("computes with numbers alone"));
  EXPECT_THAT(ErrorAfter(with(1, 1, {{"as_floats", {1.0}}})), HasSubstr("has the argument size"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.node(3)["inputs"].erase(1); }),
              HasSubstr("lacks its argument \"other\""));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.node(3)["inputs"][1]["name"] = "self"; }),
              HasSubstr("has the argument \"self\" twice"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.node(3)["inputs"].push_back(Argument("alpha", {{"as_int", 1}}));
              }),
              HasSubstr("has an argument that its operator does not take"));
  EXPECT_THAT(
      ErrorAfter([](Archive& archive) { archive.node(3)["outputs"].push_back(Tensor("z")); }),
      HasSubstr("has 2 outputs, but its operator gives 1"));
}

TEST(ExportedArchive, NumbersAreBounded) {
  const auto with = [](const json& sizes) {
    return [=](Archive& archive) { archive.argument(1, 1) = sizes; };
  };
  EXPECT_THAT(ErrorAfter(with({{"as_ints", {int64_t{1} << 32, 3}}})),
              HasSubstr("expected an integer from -2147483648 to 2147483648"));
  EXPECT_THAT(ErrorAfter(with({{"as_ints", {1 << 20, 1 << 20}}})),
              HasSubstr("more than 2147483648 elements a row"));
  const json rows = {{"as_name", "n"}};
  EXPECT_THAT(ErrorAfter(with({{"as_sym_ints", {rows, rows}}})), HasSubstr("elements a row"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.graph()["nodes"].insert(
                    archive.graph()["nodes"].begin() + 1,
                    Node("_operator.floordiv",
                         {Argument("a", {{"as_int", 6}}), Argument("b", {{"as_int", 0}})},
                         json::array({{{"as_sym_int", {{"as_name", "m"}}}}})));
              }),
              HasSubstr("divides by something other than a number above 0"));
}

// LibTorch would follow them beyond the end of its list of values.
TEST(ExportedArchive, StructuresHaveAsManyLeavesAsTensors) {
  const auto with = [](const std::string& spec) {
    return [=](Archive& archive) {
      archive.program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = spec;
    };
  };
  for (const std::string& spec :
       {json::array({1, Leaves(2)}).dump(), json::array({1, Leaves(0)}).dump(),
        json::array({2, Leaves(1)}).dump(), std::string("[]"), std::string("[1, {\"type\": null}]"),
        std::string("[1, {\"type\": \"collections.namedtuple\", \"context\": \"null\", "
                    "\"children_spec\": []}]")}) {
    EXPECT_THAT(ErrorAfter(with(spec)),
                HasSubstr("in_spec that is not a structure of its 1 tensors"));
  }
  EXPECT_THAT(ErrorAfter(with("{")), HasSubstr("in_spec is not valid JSON"));
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.program["graph_module"]["module_call_graph"] = json::array();
              }),
              HasSubstr("module_call_graph"));
}

TEST(ExportedArchive, ResultsNameTheDeviceThatLibTorchsOwnKernelsDoNotTake) {
  EXPECT_THAT(ErrorAfter([](Archive& archive) {
                archive.graph()["tensor_values"]["twice"]["device"]["type"] = "cpu";
              }),
              AllOf(HasSubstr("node 2"), HasSubstr("another device than \"meta\"")));
  EXPECT_THAT(ErrorAfter([](Archive& archive) { archive.graph()["tensor_values"].erase("twice"); }),
              HasSubstr("has no result that the graph describes"));
  Archive cuda;
  for (json& value : cuda.graph()["tensor_values"]) value["device"]["type"] = "cuda";
  EXPECT_NO_THROW(Check(cuda, at::kCUDA));
  EXPECT_THAT(TextOf<FormatError>([&] { Check(cuda); }),
              HasSubstr("expected \"cpu\": export the model from there"));
}

TEST(ExportedOperators, TorchHasThemAllAndNoneHasSideEffects) {
  std::string before;
  for (const std::string_view served : ServedAtenOperators()) {
    const std::string name(served);
    EXPECT_LT(before, name) << "sorted";
    before = name;
    EXPECT_TRUE(ServesOperator("torch.ops.aten." + name));
    const size_t dot = name.find('.');
    const std::string overload = name.substr(dot + 1);
    const auto handle = c10::Dispatcher::singleton().findSchema(
        {"aten::" + name.substr(0, dot), overload == "default" ? "" : overload});
    ASSERT_TRUE(handle) << name;
    const bool off_in_inference =  // CheckGraph insists on that
        name.starts_with("lstm.") || name.starts_with("gru.") || name.starts_with("rnn_") ||
        name.starts_with("scaled_dot_product_attention.");
    EXPECT_FALSE(handle->schema().is_mutable()) << name;
    const auto& tags = handle->getTags();
    const auto has = [&](at::Tag tag) { return std::ranges::count(tags, tag) > 0; };
    EXPECT_TRUE(!has(at::Tag::nondeterministic_seeded) || off_in_inference) << name;
    EXPECT_FALSE(has(at::Tag::data_dependent_output) || name.starts_with("_unsafe")) << name;
    EXPECT_TRUE(!has(at::Tag::dynamic_output_shape) || name == "index.Tensor" ||
                name == "one_hot.default")
        << name;
  }
}

TEST(ExportedOperators, SayWhyTheyAreNotServed) {
  EXPECT_FALSE(ServesOperator("torch.ops.aten.randn.default"));
  EXPECT_THAT(WhyNotServed("torch.ops.aten.randn.default"), HasSubstr("declare them in `noise`"));
  EXPECT_THAT(WhyNotServed("torch.ops.aten.add_.Tensor"), HasSubstr("changes a tensor in place"));
  EXPECT_THAT(WhyNotServed("torch.ops.mine.op.default"), HasSubstr("is a custom operator"));
  EXPECT_THAT(WhyNotServed("torch.ops.higher_order.cond"), HasSubstr("control flow"));
  EXPECT_THAT(WhyNotServed("os.system"), HasSubstr("is not in the list of operators"));
}

}  // namespace
}  // namespace genie_env
