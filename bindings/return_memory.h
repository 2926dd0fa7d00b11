#pragma once

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace genie_env {

/// Gives memory that was freed back to the system: glibc keeps what lies between blocks in use.
inline void ReturnMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace genie_env
