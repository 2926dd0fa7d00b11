#pragma once

#include "genie_env/models/model.h"

namespace genie_env {

/// x / |x| over the last dimension.
at::Tensor UnitLength(const at::Tensor& x);

/// A codebook of directions: a latent is quantised to the code with the largest cosine similarity
/// (Yu et al. 2022). Codes learn by gradient; RestartDeadCodes replaces dead codes.
class Quantizer : public torch::nn::Module {
 public:
  /// A code is dead when no latent has chosen it for this many batches in a row.
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

  /// latents: [..., dimensions], of any length. Where gradients are on, it counts the chosen codes
  /// for RestartDeadCodes.
  Result Forward(const at::Tensor& latents);

  /// The codes alone: int64 [...].
  at::Tensor Nearest(const at::Tensor& latents) const;

  /// float32 [codes, dimensions], each of length 1.
  at::Tensor Directions() const;

  /// float32 [..., dimensions].
  at::Tensor Lookup(const at::Tensor& codes) const;

  /// To be called after every update. Moves every dead code next to one of the codes with the
  /// largest error, so that the two split its latents. The result depends on the codes, the counts
  /// and errors of their latents in the batches so far, and the noise. Processes that train
  /// together would have to sum those counts and errors, besides averaging the gradients; this is
  /// not implemented.
  void RestartDeadCodes(TrainingNoise& noise);

 private:
  double commitment_;
  at::Tensor codebook_;
  at::Tensor idle_;             // int64 [codes]: batches since a latent chose the code
  at::Tensor counts_, losses_;  // float32 [codes]: latents of the last batch, and their errors
};

}  // namespace genie_env
