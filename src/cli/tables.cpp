// SPDX-License-Identifier: Apache-2.0
#include "agent/table_view.h"
#include "cli/source.h"

namespace weir::cli {
namespace {

class TableSource : public Source {
  public:
    TableSource(datapath::Reader reader, api::SavedNames names)
        : reader_(std::move(reader)), names_(std::move(names)) {}

    Result<std::vector<api::Pod>> pods() override { return view_.pods(); }
    Result<std::vector<api::Service>> services() override { return view_.services(); }
    Result<std::vector<api::Backend>> backends() override { return view_.backends(); }
    Result<std::vector<api::Drop>> drops() override { return view_.drops(); }

    Result<api::Ipam> ipam() override {
        api::Ipam ipam;
        for (const auto& pod : WEIR_TRY(view_.pods())) {
            for (const auto& ip : pod.ips)
                ipam.addresses.push_back({ip, pod.ns, pod.name, "", "", ""});
        }
        return ipam;
    }

    Result<void> conntrack(const QueryParams& query,
                           const std::function<bool(const api::Conntrack&)>& visit) override {
        return view_.conntrack(WEIR_TRY(api::ConntrackFilter::parse(query)), visit);
    }

  private:
    datapath::Reader reader_;
    api::SavedNames names_;
    api::TableView view_{reader_, names_};
};

}  // namespace

Result<std::unique_ptr<Source>> open_tables(const std::filesystem::path& bpffs,
                                            const std::filesystem::path& run_dir) {
    datapath::Reader reader = WEIR_TRY(datapath::Reader::open(datapath::PinDir(bpffs)));
    return std::make_unique<TableSource>(std::move(reader), api::SavedNames::load(run_dir));
}

}  // namespace weir::cli
