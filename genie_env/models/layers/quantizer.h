#pragma once

#include "genie_env/models/model.h"

namespace genie_env {

/// x / |x| over the last dimension.
at::Tensor UnitLength(const at::Tensor& x);

/// A codebook of directions: a latent becomes the code with the largest cosine similarity (Yu et
/// al. 2022). Learns by gradient, but for dead codes, which RestartDeadCodes gives a new life.
class Quantizer : public torch::nn::Module {
 public:
  /// A code that no latent of this many batches in a row chose is dead.
  static constexpr int64_t kPatience = 100;

  /// commitment: how strongly latents are drawn to their codes; codes are drawn to their latents
  /// with strength 1.
  Quantizer(int64_t codes, int64_t dimensions, double commitment, LayerNumbers& layers);

  struct Result {
    at::Tensor codes;   ///< int64 [...]
    at::Tensor latent;  ///< float32 [..., dimensions], of length 1; straight-through gradient
    /// Scalar: the squared distance of latents (of length 1) and codes, which draws the codes to
    /// the latents and, times the commitment, the latents to the codes (van den Oord et al. 2017).
    at::Tensor loss;
    /// Detached scalars over this batch: "codes_used", the share of codes that some latent chose;
    /// "perplexity", the number of codes that would be as varied if used alike;
    /// "quantization_error", the mean squared distance of latents and their codes.
    std::map<std::string, at::Tensor> terms;
  };

  /// latents: [..., dimensions], any length. Where gradients are on, counts who chose what, for
  /// RestartDeadCodes.
  Result Forward(const at::Tensor& latents);

  /// int64 [...], without any of the rest.
  at::Tensor Nearest(const at::Tensor& latents) const;

  /// float32 [codes, dimensions], each of length 1.
  at::Tensor Directions() const;

  /// float32 [..., dimensions].
  at::Tensor Lookup(const at::Tensor& codes) const;

  /// To be called after every update. Gives every dead code a new life beside one of the codes that
  /// lose most: the dead one splits its latents with it. Follows from the codes and their latents'
  /// counts and errors in the batches so far, and from the noise key. Processes that learn together
  /// would have to add up those counts and errors, besides averaging the gradients; nothing here
  /// does so yet.
  void RestartDeadCodes(const NoiseKey& noise);

 private:
  double commitment_;
  at::Tensor codebook_;
  at::Tensor idle_;             // int64 [codes]: batches since some latent chose the code
  at::Tensor counts_, losses_;  // float32 [codes]: of the last batch, its latents and their errors
};

}  // namespace genie_env
