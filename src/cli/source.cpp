// SPDX-License-Identifier: Apache-2.0
#include "cli/source.h"

#include <boost/json.hpp>

namespace weir::cli {
namespace {

namespace json = boost::json;

class AgentSource : public Source {
  public:
    explicit AgentSource(Client client) : client_(std::move(client)) {}

    Result<std::vector<api::Pod>> pods() override { return list<api::Pod>("/v1/pods"); }
    Result<std::vector<api::Service>> services() override {
        return list<api::Service>("/v1/services");
    }
    Result<std::vector<api::Backend>> backends() override {
        return list<api::Backend>("/v1/backends");
    }
    Result<std::vector<api::Drop>> drops() override { return list<api::Drop>("/v1/drops"); }
    Result<api::Ipam> ipam() override {
        return api::from_json<api::Ipam>(WEIR_TRY(client_.get("/v1/ipam")));
    }
    Result<void> conntrack(const QueryParams& query,
                           const std::function<bool(const api::Conntrack&)>& visit) override {
        Result<void> parsed;
        auto streamed = client_.stream("/v1/conntrack", query, false, [&](std::string_view line) {
            boost::system::error_code error;
            const json::value value = json::parse(line, error);
            auto entry = api::from_json<api::Conntrack>(value);
            if (error || !entry) {
                parsed = fail(Errc::kInternal, "the agent's answer: {}",
                              error ? error.message() : entry.error().message());
                return false;
            }
            return visit(*entry);
        });
        WEIR_CHECK(std::move(streamed));
        return parsed;
    }

  private:
    template <typename T>
    Result<std::vector<T>> list(std::string_view path) {
        return api::list_from_json<T>(WEIR_TRY(client_.get(path)));
    }
    Client client_;
};

}  // namespace

Result<std::unique_ptr<Source>> open_source(const Invocation& invocation) {
    const Client client = invocation.client();
    const auto answer = client.get("/healthz");
    // Whatever an agent says, it is there and its own lists are the better ones.
    if (answer || (answer.error().code() != Errc::kUnavailable &&
                   answer.error().code() != Errc::kPermission)) {
        return std::make_unique<AgentSource>(client);
    }
    if (answer.error().code() == Errc::kPermission) return Failure(Error(answer.error()));
    auto tables = open_tables(invocation.bpffs, invocation.run_dir);
    if (!tables && tables.error().code() == Errc::kPermission) return tables;
    if (!tables) return Failure(Error(answer.error()));
    complain("agent not running: read from kernel tables");
    return tables;
}

}  // namespace weir::cli
