#include "genie_env/worlds/exported/archive.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "genie_env/core/error.h"
#include "genie_env/worlds/exported/operators.h"
namespace genie_env {
std::string WhyNotServed(std::string_view name) {
  return name.find("rand") != std::string_view::npos ? "draw noise outside" : "";
}
std::map<std::string, GraphSignature> CheckArchive(std::span<const std::byte> bytes,
                                                   const std::string& file,
                                                   std::span<const std::string> models,
                                                   const std::string&) {
  std::map<std::string, GraphSignature> out;
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const std::string& model : models) {
    size_t at = all.find("models/" + model + ".json");
    at = all.find("{\"graph_module\"", at);
    if (at == std::string_view::npos) throw FormatError(file + ": no graph " + model);
    size_t end = at;
    int depth = 0;
    bool text = false;
    for (; end < all.size(); ++end) {
      if (text) {
        if (all[end] == '\\')
          ++end;
        else if (all[end] == '"')
          text = false;
        continue;
      }
      if (all[end] == '"') text = true;
      if (all[end] == '{') ++depth;
      if (all[end] == '}' && --depth == 0) {
        ++end;
        break;
      }
    }
    const auto g = nlohmann::json::parse(all.substr(at, end - at));
    const auto& graph = g["graph_module"]["graph"];
    const auto tensor = [&](const std::string& name) {
      GraphTensor t{.name = name, .dtype = at::kFloat, .shape = {}};
      const auto& v = graph["tensor_values"][name];
      const int d = v["dtype"];
      t.dtype = d == 1    ? at::kByte
                : d == 5  ? at::kLong
                : d == 6  ? at::kHalf
                : d == 8  ? at::kDouble
                : d == 12 ? at::kBool
                : d == 13 ? at::kBFloat16
                          : at::kFloat;
      for (const auto& s : v["sizes"])
        t.shape.push_back(s.contains("as_int") ? s["as_int"].get<int64_t>() : -1);
      return t;
    };
    GraphSignature sig;
    const std::string nodes = graph["nodes"].dump() + graph["outputs"].dump();
    for (const auto& s : g["graph_module"]["signature"]["input_specs"]) {
      if (!s.contains("user_input")) continue;
      sig.inputs.push_back(tensor(s["user_input"]["arg"]["as_tensor"]["name"]));
      sig.inputs.back().used =
          nodes.find("\"" + sig.inputs.back().name + "\"") != std::string::npos;
    }
    for (const auto& s : graph["outputs"]) sig.outputs.push_back(tensor(s["as_tensor"]["name"]));
    out.emplace(model, sig);
  }
  return out;
}
}  // namespace genie_env
