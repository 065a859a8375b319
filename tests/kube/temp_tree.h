// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <unistd.h>

namespace weir::kube {

/// A directory of its own that goes away with the object.
class TempTree {
  public:
    TempTree() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "weir-kube-XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
    }
    TempTree(const TempTree&) = delete;
    TempTree& operator=(const TempTree&) = delete;
    ~TempTree() {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }
    [[nodiscard]] const std::filesystem::path& root() const { return root_; }
    [[nodiscard]] std::filesystem::path path(std::string_view name) const { return root_ / name; }
    /// In place, as an editor may do it: truncated, written, closed.
    void write(std::string_view name, std::string_view text) const {
        std::ofstream(path(name), std::ios::trunc) << text;
    }
    /// By a temporary file and a rename.
    void replace(std::string_view name, std::string_view text) const {
        const std::string temporary = std::string(name) + ".tmp";
        write(temporary, text);
        std::filesystem::rename(path(temporary), path(name));
    }

  private:
    std::filesystem::path root_;
};

}  // namespace weir::kube
