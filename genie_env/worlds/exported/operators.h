#pragma once
#include <string>
#include <string_view>
namespace genie_env {
std::string WhyNotServed(std::string_view name);
}
