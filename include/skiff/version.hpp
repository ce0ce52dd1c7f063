#pragma once

namespace skiff {

inline constexpr char kVersion[] = "0.1.0";                    // of skiff
inline constexpr char kKubernetesVersion[] = "v1.36.0+skiff.0.1.0";  // what /version and the nodes report

}  // namespace skiff
