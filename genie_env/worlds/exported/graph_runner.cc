#include "genie_env/worlds/exported/graph_runner.h"

#include <ATen/core/ivalue.h>
#include <c10/util/Exception.h>
#include <c10/util/Flags.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/nativert/ModelRunnerHandle.h>

#include <mutex>
#include <stdexcept>
#include <utility>

#include "genie_env/core/error.h"

C10_DECLARE_int(caffe2_log_level);

namespace genie_env {
namespace {

// While LibTorch loads a graph it writes to stderr which of its operators have no faster kernel,
// as a warning that no user can act on. Its level of logging is the process's.
class WithoutWarnings {
 public:
  WithoutWarnings() : level_(FLAGS_caffe2_log_level) {
    constexpr int kErrors = 2;
    if (level_ < kErrors) FLAGS_caffe2_log_level = kErrors;
  }
  ~WithoutWarnings() { FLAGS_caffe2_log_level = level_; }
  WithoutWarnings(const WithoutWarnings&) = delete;
  WithoutWarnings& operator=(const WithoutWarnings&) = delete;

 private:
  static std::mutex& Mutex() {
    static std::mutex mutex;
    return mutex;
  }

  std::lock_guard<std::mutex> lock_{Mutex()};
  int level_;
};

// Without the C++ stack that LibTorch adds.
std::string Reason(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text =
      torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  return text.substr(0, text.find("\nException raised from"));  // of an error within an error
}

}  // namespace

struct GraphRunner::Impl {
  std::string place;
  // One of the two.
  std::unique_ptr<torch::nativert::ModelRunnerHandle> interpreter = nullptr;
  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> compiled = nullptr;

  Impl(const std::filesystem::path& file, const std::string& name)
      : place(file.string() + ": the graph \"" + name + "\"") {}

  template <typename Load>
  void Loading(const Load& load) {
    try {
      const WithoutWarnings quiet;
      load();
    } catch (const std::exception& error) {
      throw FormatError(place + " is refused by LibTorch: " + Reason(error));
    }
  }
};

GraphRunner::GraphRunner(const std::filesystem::path& archive, const std::string& name)
    : GraphRunner(std::make_unique<Impl>(archive, name)) {
  impl_->Loading([&] {
    impl_->interpreter =
        std::make_unique<torch::nativert::ModelRunnerHandle>(archive.string(), name);
  });
}

GraphRunner GraphRunner::Compiled(const std::filesystem::path& package, const std::string& name) {
  auto impl = std::make_unique<Impl>(package, name);
  impl->Loading([&] {
    impl->compiled = std::make_unique<torch::inductor::AOTIModelPackageLoader>(package.string());
  });
  return GraphRunner(std::move(impl));
}

GraphRunner::GraphRunner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GraphRunner::~GraphRunner() = default;
GraphRunner::GraphRunner(GraphRunner&&) noexcept = default;
GraphRunner& GraphRunner::operator=(GraphRunner&&) noexcept = default;

const std::string& GraphRunner::place() const { return impl_->place; }

std::vector<at::Tensor> GraphRunner::Run(const std::vector<at::Tensor>& inputs) const {
  std::vector<c10::IValue> results;
  try {
    if (impl_->compiled != nullptr) return impl_->compiled->run(inputs);
    std::vector<c10::IValue> values(inputs.begin(), inputs.end());
    results = impl_->interpreter->runWithFlatInputsAndOutputs(std::move(values));
  } catch (const std::exception& error) {
    throw std::runtime_error(impl_->place + " failed: " + Reason(error));
  }
  std::vector<at::Tensor> outputs;
  outputs.reserve(results.size());
  for (c10::IValue& result : results) {
    if (!result.isTensor()) {
      throw std::runtime_error(impl_->place + " gave a " + result.tagKind() +
                               ", expected tensors alone");
    }
    outputs.push_back(std::move(result).toTensor());
  }
  return outputs;
}

}  // namespace genie_env
