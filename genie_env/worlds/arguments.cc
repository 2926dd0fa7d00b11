#include "genie_env/worlds/arguments.h"

#include <limits>
#include <stdexcept>

#include "genie_env/core/text.h"

namespace genie_env {
at::Tensor CheckRows(const at::Tensor& rows, const char* name, int64_t count) {
  if (!rows.defined() || rows.dim() != 1) {
    throw std::invalid_argument(std::string(name) + ": got " + Describe(rows) +
                                ", expected int64 [R], the numbers of rows");
  }
  CheckTensor(rows, name, at::kLong, {rows.size(0)});
  at::Tensor host = rows.cpu().contiguous();
  const int64_t* row = host.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < host.size(0); ++i) {
    if (row[i] < 0 || row[i] >= count) {
      throw std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "] is " +
                                  std::to_string(row[i]) + ": there are " + std::to_string(count) +
                                  " rows, numbered from 0");
    }
  }
  return host;
}

void CheckTemperature(double temperature, const std::string& name) {
  using Limits = std::numeric_limits<float>;
  if (temperature >= Limits::min() && temperature <= Limits::max()) return;
  throw std::invalid_argument(name + " is " + NumberText(temperature) +
                              ", expected a finite number above 0 that float32 can hold");
}

}  // namespace genie_env
