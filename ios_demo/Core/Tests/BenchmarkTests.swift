import Foundation
import RIDCore
@testable import RIDTestSupport
import XCTest

final class BenchmarkTests: XCTestCase {
    /// The same figures as rid_bench.portable.timing.summarize.
    func testSummary() {
        let summary = Summary([0.4, 0.1, 0.3, 0.2])
        XCTAssertEqual(summary.count, 4)
        XCTAssertEqual(summary.minimum, 0.1)
        XCTAssertEqual(summary.median, 0.25, accuracy: 1e-12)
        XCTAssertEqual(summary.p90, 0.37, accuracy: 1e-12)
        XCTAssertEqual(summary.p99, 0.397, accuracy: 1e-12)
        XCTAssertEqual(summary.mean, 0.25, accuracy: 1e-12)
        XCTAssertEqual(summary.spread, 0.96, accuracy: 1e-12)
        XCTAssertEqual(Summary([2]).spread, 0)
    }

    /// Labels, error and figures side by side; where `RID_BENCH_JSON` names a file, the document is
    /// left there for `rid-bench` to read.
    func testDocument() throws {
        let metadata = try ModelMetadata(json: TestPackage.document())
        func labels(_ kernels: String) -> BenchmarkReport.Labels {
            BenchmarkReport.Labels(
                metadata: metadata, file: "rid-s.mlpackage", sizeBytes: 2_000_000,
                runtime: "Core ML, iOS 17.5", kernels: kernels)
        }
        let round = [
            Figures.Sample(pre: 0.001, network: 0.004, post: 0.002),
            Figures.Sample(pre: 0.001, network: 0.005, post: 0.002),
        ]
        let figures = Figures(
            load: 0.2, first: 0.05, rounds: [round, round], memoryBytes: 30_000_000)
        let machine = BenchmarkReport.Machine(
            name: "a test, no phone", cpu: "iPhone0,0", architecture: "arm64", cores: 6,
            memoryBytes: 6_000_000_000, system: "iOS 17.5", thermal: ["nominal", "fair"],
            lowPower: false)
        let run = BenchmarkReport.Run(
            created: "2030-01-01T00:00:00Z", machine: machine,
            cells: [
                BenchmarkReport.Cell(labels: labels("CPU"), result: .success(figures)),
                BenchmarkReport.Cell(
                    labels: labels("GPU"), result: .failure(RIDError.engineFailed("no memory"))),
            ], complete: false, note: "stopped by the user")
        let json = try BenchmarkReport(runs: [run]).json()
        if let path = ProcessInfo.processInfo.environment["RID_BENCH_JSON"] {
            try json.write(to: URL(fileURLWithPath: path))
        }
        let object = try XCTUnwrap(JSONSerialization.jsonObject(with: json) as? [String: Any])
        XCTAssertEqual(object["schema"] as? Int, 1)
        let runs = try XCTUnwrap(object["runs"] as? [[String: Any]])
        let cells = try XCTUnwrap(runs[0]["cells"] as? [[String: Any]])
        XCTAssertEqual(cells[0]["format"] as? String, "Core ML")
        XCTAssertEqual(cells[0]["load_s"] as? Double, 0.2)
        XCTAssertTrue(cells[0]["error"] is NSNull)
        XCTAssertEqual((cells[0]["network"] as? [String: Any])?["count"] as? Int, 4)
        XCTAssertEqual((cells[0]["rounds"] as? [Double])?.count, 2)
        XCTAssertNil(cells[1]["total"])
        XCTAssertEqual(
            cells[1]["error"] as? String, "The model cannot run on this device: no memory.")
    }
}
