// What V, M and their trainer refuse, and autocast regions of the caller. (Losses and gradients are
// compared with PyTorch's in tests/python/test_nn_reference.py.)
#include "genie_env/models/trainer.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "files.h"
#include "genie_env/core/random.h"
#include "genie_env/models/autocast.h"
#include "genie_env/models/vision_memory/memory.h"
#include "genie_env/models/vision_memory/vision.h"

namespace genie_env {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TensorMap Frames() {
  const at::Tensor pixels = at::arange(2 * 64 * 64 * 3).remainder(251);
  return {{"frames", pixels.to(at::kByte).view({2, 64, 64, 3})}};
}

/// Three losses of V with an update after each.
std::vector<double> Losses(bool within_autocast) {
  std::optional<Bf16Scope> callers;
  if (within_autocast) callers.emplace(true, at::kCPU);
  Trainer trainer(std::make_shared<Vision>(VisionSizes{.latents = 4}),
                  {.learning_rate = 1e-2, .bf16 = true});
  std::vector<double> losses;
  for (int i = 0; i < 3; ++i) {
    losses.push_back(trainer.Backward(Frames()).at("loss"));
    trainer.Update();
  }
  return losses;
}

TEST(Trainer, LearnsWithinAnAutocastOfTheCaller) { EXPECT_EQ(Losses(true), Losses(false)); }

TEST(Trainer, LookingWithinAnAutocastOfTheCallerCostsNoGradient) {
  const Bf16Scope callers(true, at::kCPU);
  const auto vision = std::make_shared<Vision>(VisionSizes{.latents = 4});
  Trainer trainer(vision, {.bf16 = true});
  {
    const c10::AutoGradMode no_gradients(false);
    vision->Encode(Frames().at("frames"));
  }
  trainer.Backward(Frames());
  EXPECT_EQ(trainer.Gradients().size(), trainer.Weights().size());
}

TEST(Trainer, RefusesArgumentsThatCannotBe) {
  const auto words = [](const TrainerOptions& options) {
    return TextOf<std::invalid_argument>([&] {
      Trainer trainer(std::make_shared<Memory>(MemorySizes{2, 3, 1}), options);
    });
  };
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Trainer trainer(nullptr, {}); }),
            "model is null, expected a network");
  EXPECT_EQ(words({.learning_rate = kNan}),
            "learning_rate is nan, expected a finite number of 0 or more");
  EXPECT_EQ(words({.learning_rate = -1e-3}),
            "learning_rate is -0.001, expected a finite number of 0 or more");
  EXPECT_EQ(words({.gradient_clip = kNan}),
            "gradient_clip is nan, expected a finite number of 0 or more");
  EXPECT_EQ(words({.device = "gpu"}),
            "device is \"gpu\", expected \"cpu\", \"cuda\" or \"cuda:1\"");
  Trainer trainer(std::make_shared<Memory>(MemorySizes{2, 3, 1}), {});
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { trainer.SetLearningRate(kNan); }),
            "learning_rate is nan, expected a finite number of 0 or more");
}

TEST(Vision, RefusesArgumentsThatCannotBe) {
  for (const int64_t latents : {-1, 0, 4097}) {
    EXPECT_EQ(TextOf<std::invalid_argument>([&] { Vision vision({.latents = latents}); }),
              "latents is " + std::to_string(latents) + ", expected 1 to 4096");
  }
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Vision vision({.latents = 4}, 0, 0); }),
            "beta is 0; expected a finite number above 0");
  EXPECT_EQ(TextOf<std::invalid_argument>([] { Vision vision({.height = 40}); }),
            "frames are 40 x 64; V takes sides that are multiples of 16 from 48 to 256");
  const Vision vision({.latents = 4});
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              vision.Encode(at::zeros({2, 64, 64, 3}));
            }),
            "frames: got float32 [2, 64, 64, 3], expected uint8 [any, 64, 64, 3]");
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              vision.Decode(at::zeros({2, 5}));
            }),
            "latents: got float32 [2, 5], expected float32 [any, 4]");
  EXPECT_EQ(TextOf<std::invalid_argument>([&] { vision.Decode(at::zeros({4})); }),
            "latents: got float32 [4], expected float32 [any, 4]");
  EXPECT_EQ(TextOf<std::invalid_argument>([&] {
              vision.Decode(at::zeros({2, 4}, at::kDouble));
            }),
            "latents: got float64 [2, 4], expected float32 [any, 4]");
}

TEST(Memory, RefusesArgumentsThatCannotBe) {
  const auto words = [](const MemorySizes& sizes) {
    return TextOf<std::invalid_argument>([&] { Memory memory(sizes); });
  };
  EXPECT_EQ(words({.latents = 0}), "latents is 0, expected 1 to 4096");
  EXPECT_EQ(words({.hidden = 0}), "hidden is 0, expected 1 to 65536");
  EXPECT_EQ(words({.components = 0}), "components is 0, expected 1 to 32");
  EXPECT_EQ(words({.components = 33}), "components is 33, expected 1 to 32");
  Memory memory({2, 3, 1});
  const auto refusal = [&](const TensorMap& batch) {
    TrainingNoise noise(0, 0);
    return TextOf<std::invalid_argument>([&] { memory.ComputeLoss(batch, noise); });
  };
  EXPECT_EQ(refusal({}), "the batch has no \"mu\"");
  EXPECT_EQ(refusal({{"mu", at::zeros({1, 4, 3})}}),
            "mu: got float32 [1, 4, 3], expected float32 [any, any, 2]");
  EXPECT_EQ(refusal({{"mu", at::zeros({1, 0, 2})}}),
            "mu: got float32 [1, 0, 2], expected at least one frame");
  EXPECT_EQ(refusal({{"mu", at::zeros({1, 4, 2})}, {"logvar", at::zeros({1, 3, 2})}}),
            "logvar: got float32 [1, 3, 2], expected float32 [1, 4, 2]");
}

/// A small M in training.
class TrainingMemory : public testing::Test {
 protected:
  static TensorMap Batch() {
    return {{"mu", at::full({2, 4, 2}, 0.5f)}, {"logvar", at::zeros({2, 4, 2})},
            {"actions", at::zeros({2, 4, 1})}, {"restarts", at::zeros({2, 4})},
            {"finals", at::zeros({2, 4})},     {"terminations", at::zeros({2, 4})}};
  }

  void Step() {
    trainer_.Backward(Batch());
    trainer_.Update();
  }

  void ExpectStateIs(const TensorMap& expected) const {
    for (const auto& [name, tensor] : trainer_.State()) {
      EXPECT_TRUE(at::equal(tensor, expected.at(name))) << name;
    }
  }

  Trainer trainer_{std::make_shared<Memory>(MemorySizes{2, 3, 1}), {}};
};

TEST_F(TrainingMemory, AGradientThatIsNotFiniteChangesNothing) {
  Step();
  const TensorMap before = trainer_.State();
  trainer_.Backward(Batch());
  trainer_.Gradients().at("bias")[3] = kNan;
  EXPECT_EQ(TextOf<std::runtime_error>([&] { trainer_.Update(); }),
            "the gradient of \"bias\" is not finite at step 1; the weights are as before it: lower "
            "the learning rate or look for extreme values in the data");
  ExpectStateIs(before);
  Step();
  EXPECT_EQ(trainer_.step(), 2);
}

TEST_F(TrainingMemory, ATrainerAppliesNoGradientsOfAnother) {
  Trainer other(std::static_pointer_cast<Model>(trainer_.model().shared_from_this()), {});
  const auto words = testing::StartsWith("update before backward: ");
  trainer_.Backward(Batch());
  other.Backward(Batch());
  EXPECT_THAT(TextOf<std::logic_error>([&] { trainer_.Update(); }), words);
  trainer_.Backward(Batch());
  EXPECT_THAT(TextOf<std::logic_error>([&] { other.Update(); }), words);
  other.LoadWeights(other.Weights());
  EXPECT_THAT(TextOf<std::logic_error>([&] { trainer_.Update(); }), words);
  Step();
  other.Backward(Batch());
  other.Update();
  EXPECT_EQ(trainer_.step(), 1);
  EXPECT_EQ(other.step(), 1);
}

TEST_F(TrainingMemory, OnlyTheGradientsOfTheLastBatchAreApplied) {
  const std::string words =
      "update before backward: there are no gradients to apply; every update needs a backward "
      "before it that did not fail, and no call of another trainer of the network between them";
  const auto refuses_to_update = [&] {
    const TensorMap before = trainer_.State();
    EXPECT_EQ(TextOf<std::logic_error>([&] { trainer_.Update(); }), words);
    ExpectStateIs(before);
    EXPECT_TRUE(trainer_.Gradients().empty());
  };
  refuses_to_update();
  trainer_.Backward(Batch());
  TensorMap not_finite = Batch();
  not_finite.at("mu").fill_(kNan);
  const auto text = TextOf<std::runtime_error>([&] { trainer_.Backward(not_finite); });
  EXPECT_TRUE(
      text.ends_with("nan at step 0; the weights are as before it: lower the learning rate "
                     "or look for values that are not finite in the data"))
      << text;
  refuses_to_update();
  trainer_.Backward(Batch());
  TextOf<std::invalid_argument>([&] { trainer_.Backward({}); });
  refuses_to_update();
  trainer_.Backward(Batch());
  trainer_.LoadWeights(trainer_.Weights());
  refuses_to_update();
  trainer_.Backward(Batch());
  trainer_.LoadState(trainer_.State());
  refuses_to_update();
  Step();
  const TensorMap before = trainer_.State();
  EXPECT_EQ(TextOf<std::logic_error>([&] { trainer_.Update(); }), words);
  ExpectStateIs(before);
  EXPECT_EQ(trainer_.step(), 1);
}

/// A network that draws noise three times a step: twice for its loss, once after the update.
struct NoisyModel : Model {
  Loss ComputeLoss(const TensorMap& /*batch*/, TrainingNoise& noise) override {
    Draw(noise);
    Draw(noise);
    return {.total = weight.sum(), .terms = {}};
  }
  void AfterUpdate(TrainingNoise& noise) override { Draw(noise); }
  void Draw(TrainingNoise& noise) { drawn.push_back(noise.Uniform({64}, at::kCPU)); }

  at::Tensor weight = register_parameter("weight", at::zeros({2}));
  std::vector<at::Tensor> drawn;
};

TEST(TrainingNoise, NoTwoUsesOfAStepShareADraw) {
  const auto model = std::make_shared<NoisyModel>();
  Trainer trainer(model, {.seed = 3});
  trainer.Backward({});
  trainer.Update();
  ASSERT_EQ(model->drawn.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < i; ++j) {
      EXPECT_FALSE((model->drawn[i] == model->drawn[j]).any().item<bool>()) << i << " and " << j;
    }
  }
  // A network that draws once a step draws what it did before uses had streams of their own.
  std::vector<float> first(64);
  FillUniform({.seed = 3}, Stream::kTrainingNoise, first);
  EXPECT_TRUE(at::equal(model->drawn[0], at::tensor(first)));
}

TEST_F(TrainingMemory, AStateThatCannotBeIsRefused) {
  Step();
  const TensorMap good = trainer_.State();
  const auto refusal = [&](const std::string& name, const std::optional<at::Tensor>& tensor) {
    TensorMap state = good;
    state.erase(name);
    if (tensor) state.emplace(name, *tensor);
    const std::string text = TextOf<std::invalid_argument>([&] { trainer_.LoadState(state); });
    ExpectStateIs(good);
    return text;
  };
  const auto filled = [](double value) { return at::full({12}, value, at::kFloat); };
  for (const char* name : {"step", "weight.bias", "first_moment.bias", "second_moment.bias"}) {
    EXPECT_EQ(refusal(name, std::nullopt), "the state has no \"" + std::string(name) + "\"");
  }
  EXPECT_EQ(refusal("extra", filled(0)), "\"extra\" is no part of this network's state");
  EXPECT_EQ(refusal("step", at::full({}, -1, at::kLong)), "step is -1, expected 0 or more");
  EXPECT_EQ(refusal("step", at::full({}, 1.0, at::kFloat)),
            "step: got float32 [], expected int64 []");
  EXPECT_EQ(refusal("weight.bias", filled(kNan)), "\"bias\" holds a value that is not finite");
  EXPECT_EQ(refusal("first_moment.bias", at::zeros({5})),
            "first_moment.bias: got float32 [5], expected float32 [12]");
  EXPECT_EQ(refusal("first_moment.bias", filled(kNan)),
            "\"first_moment.bias\" holds a value that is not finite");
  EXPECT_EQ(refusal("second_moment.bias", filled(-1)),
            "\"second_moment.bias\" holds a value that is negative or not finite");
  trainer_.LoadState(good);
  ExpectStateIs(good);
}

}  // namespace
}  // namespace genie_env
