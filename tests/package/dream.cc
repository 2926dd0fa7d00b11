// Says what three steps of four dreams bring: the sum of all observations.
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>

#include <iostream>

#include "genie_env/env/vec_env.h"

int main(int, char** argv) {
  genie_env::VecEnv env(genie_env::World::Load(argv[1], {.dtype = "float32"}),
                        {.num_envs = 4, .seed = 0});
  double sum = env.Reset().sum().item<double>();
  for (int i = 0; i < 3; ++i) {
    sum += env.Step(at::ones({4}, at::kLong)).observation.sum().item<double>();
  }
  std::cout << sum << "\n";
}
