#pragma once

#include <stdexcept>

namespace genie_env {

// Every error of the library is an exception whose text says what was given, what was expected and
// what to do. Wrong arguments are std::invalid_argument, failures of the machine (a full disk) are
// std::runtime_error; the types below name the mistakes that a caller may want to tell apart.

/// A file or directory that is not what its format promises. The text names the file and the field.
struct FormatError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// An action outside the action space.
struct InvalidAction : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// A step before the first reset, after a failed call, or of a finished row.
struct ResetNeeded : std::logic_error {
  using std::logic_error::logic_error;
};

/// A call beside one of another thread, of an object that only one at a time may use. Nothing was
/// done: it may be called again.
struct Busy : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace genie_env
