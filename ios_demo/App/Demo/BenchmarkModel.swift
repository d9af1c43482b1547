import Foundation
import Observation
import RIDCore
import RIDKit

/// Runs the benchmark and keeps its report.
@MainActor
@Observable
final class BenchmarkModel {
    /// The share that is done, 0...1; nil when nothing runs.
    private(set) var progress: Double?
    private(set) var report: BenchmarkReport?
    /// The report as a file, for `rid-bench report`.
    private(set) var file: URL?
    private(set) var failure: String?

    private let runner: BenchmarkRunner
    private var work: Task<Void, Never>?

    init(library: ModelLibrary) {
        runner = BenchmarkRunner(library: library)
    }

    func start() {
        progress = 0
        failure = nil
        work = Task { [self] in
            defer { progress = nil }
            do {
                let report = try await runner.run(BenchmarkRunner.Options()) { share in
                    Task { @MainActor in self.progressed(share) }
                }
                let target = FileManager.default.temporaryDirectory
                    .appendingPathComponent("rid-bench-ios.json")
                try report.json().write(to: target, options: .atomic)
                self.report = report
                file = target
            } catch {
                failure = error.localizedDescription
            }
        }
    }

    /// Ends the run; what was measured is kept, and says that it is not complete.
    func stop() {
        work?.cancel()
    }

    private func progressed(_ share: Double) {
        if progress != nil { progress = share }
    }
}
