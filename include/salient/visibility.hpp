#pragma once

/// What the shared library exports. All else in it is hidden.
#if defined(_WIN32)
#if defined(SALIENT_BUILDING)
#define SALIENT_API __declspec(dllexport)
#else
#define SALIENT_API __declspec(dllimport)
#endif
#else
#define SALIENT_API __attribute__((visibility("default")))
#endif
