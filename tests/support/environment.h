#pragma once

#include <stdlib.h>

namespace salient::tests {

/// Gives this process's environment variable a value; an empty one takes it away on Windows.
inline void set_environment(const char* name, const char* value) {
#ifdef _WIN32
  ::_putenv_s(name, value);
#else
  ::setenv(name, value, 1);
#endif
}

inline void unset_environment(const char* name) {
#ifdef _WIN32
  ::_putenv_s(name, "");
#else
  ::unsetenv(name);
#endif
}

}  // namespace salient::tests
