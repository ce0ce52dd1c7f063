#pragma once
// One line a message on stderr: "12:01:02.345 W kubelet: text". Any thread; a line is written whole.

#include <fmt/core.h>

#include <string_view>

namespace skiff::log {

enum class Level { Debug, Info, Warning, Error };

/// Messages below `level` are dropped. The default is Info. Process-wide, like stderr itself.
void set_level(Level level);
bool enabled(Level level);
void write(Level level, std::string_view component, std::string_view message);

template <class... Args>
void debug(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Debug)) write(Level::Debug, component, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Info)) write(Level::Info, component, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Warning)) write(Level::Warning, component, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  write(Level::Error, component, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace skiff::log
