#pragma once

#include <cstdint>
#include <vector>

#include "genie_env/worlds/vision_memory/memory_kernels.h"

namespace genie_env {

// The arithmetic of MixtureKind::kJoint on the CPU, for blocks of rows: a mixture over whole latent
// vectors, whose dimensions are computed in panels of kPanel. First `choose` for a block, then
// `sample` or `score` for each of its panels, then `surprise`. The bits of a row's result depend on
// that row alone.

/// The weights of the components.
struct ChoiceBlock {
  int64_t rows;
  int64_t components;        ///< at most kMaxComponents
  int64_t stride;            ///< numbers from one row of products to the next
  const float* products;     ///< [rows, components]: log weights, unnormalised
  const float* bias;         ///< [components]
  int64_t part_stride;       ///< numbers from one row of log_weights to the next
  float* log_weights;        ///< [rows, components]: written, normalised
  const float* temperature;  ///< [rows]; null where no component is to be drawn
  const float* uniform;      ///< [rows]: chooses the component
  int32_t* component;        ///< [rows]: written
};

/// The components' Gaussians over one panel of latent dimensions.
struct JointMixtureBlock {
  int64_t rows;
  int64_t dimensions;        ///< dimensions in the panel, at most kPanel
  int64_t components;        ///< at most kMaxComponents
  const float* products;     ///< [rows, components, 2, kPanel]: mean, log std
  const float* bias;         ///< [components, 2, kPanel]
  const int32_t* component;  ///< [rows]; read by sample only
  const float* temperature;  ///< [rows]; read by sample only
  int64_t stride;            ///< numbers from one row of normal and z to the next
  const float* normal;       ///< [rows, dimensions]: the noise; read by sample only
  float* z;                  ///< [rows, dimensions]: written by sample, read by score
  StridedRows z_out = {};    ///< [rows, dimensions]: optional second copy of z; written by sample
  int64_t part_stride;       ///< numbers from one row of parts to the next
  float* parts;              ///< [rows, components]: written, log density of z under the component
                             ///< at temperature 1, without the constant, summed over the panel
};

/// The kernels of one instruction set. All are pure and thread-safe.
struct JointMixtureKernels {
  const char* instruction_set;
  /// Inverse distribution function, with log weights divided by the temperature.
  void (*choose)(const ChoiceBlock&);
  /// Samples z from the row's component, with the noise times the root of the temperature, and
  /// scores it.
  void (*sample)(const JointMixtureBlock&);
  /// Scores a given z.
  void (*score)(const JointMixtureBlock&);
  /// out[row] = -log p(z) / latents. parts: [rows, groups, components], whose sums over groups are
  /// the components' log weights and log densities together.
  void (*surprise)(int64_t rows, int64_t groups, int64_t components, int64_t latents,
                   const float* parts, float* out);
};

/// The kernels that this CPU can run, the fastest last; there is at least one.
std::vector<JointMixtureKernels> SupportedJointMixtureKernels();

}  // namespace genie_env
