// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/api_types.h"
#include "agent/conntrack_filter.h"
#include "common/ip.h"
#include "datapath/reader.h"

namespace weir::api {

/// Names for what the tables know by number. "" if there is none.
class Names {
  public:
    virtual ~Names() = default;
    /// NAMESPACE/NAME.
    [[nodiscard]] virtual std::string pod(const IpAddress& address) const = 0;
    /// NAMESPACE/NAME:PORT of an index in weir_services.
    [[nodiscard]] virtual std::string service(uint32_t index) const = 0;
};

/// Names in a file that an agent leaves for whoever reads the tables after its death.
class SavedNames : public Names {
  public:
    std::map<std::string, std::string> pods;      ///< by address
    std::map<std::string, std::string> services;  ///< by index

    static std::filesystem::path path(const std::filesystem::path& run_dir) {
        return run_dir / "names.json";
    }
    [[nodiscard]] Result<void> save(const std::filesystem::path& run_dir) const;
    /// Without names if there is no such file or it cannot be read: numbers are better than
    /// nothing.
    static SavedNames load(const std::filesystem::path& run_dir);

    [[nodiscard]] std::string pod(const IpAddress& address) const override;
    [[nodiscard]] std::string service(uint32_t index) const override;
};

/// The kernel's tables as the API shows them. Read-only; any thread that `names` allows.
class TableView {
  public:
    /// Both must outlive this.
    TableView(const datapath::Reader& reader, const Names& names)
        : reader_(reader), names_(names) {}

    [[nodiscard]] Result<std::vector<Pod>> pods() const;
    [[nodiscard]] Result<std::vector<Service>> services() const;
    [[nodiscard]] Result<std::vector<Backend>> backends() const;
    [[nodiscard]] Result<std::vector<Drop>> drops() const;
    [[nodiscard]] Result<std::vector<Map>> maps() const;
    /// Until `visit` returns false.
    [[nodiscard]] Result<void> conntrack(const ConntrackFilter& filter,
                                         const std::function<bool(const Conntrack&)>& visit) const;

  private:
    [[nodiscard]] Conntrack conntrack_entry(const datapath::TrackedFlow& flow) const;
    [[nodiscard]] Result<std::vector<ServiceBackend>> backends_of(
        const weir_service& service, const std::map<uint32_t, weir_backend>& all) const;

    const datapath::Reader& reader_;
    const Names& names_;
};

}  // namespace weir::api
