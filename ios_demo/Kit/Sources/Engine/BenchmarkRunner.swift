import Foundation
import RIDCore

/// Measures models on all compute units, one in turn with the others, forwards and backwards
/// (A B B A), so that a phone that grows hot slows all of them alike.
public actor BenchmarkRunner {
    /// What to measure, and how long.
    public struct Options: Sendable {
        /// Turns of every cell, and repetitions in a turn.
        public var rounds: Int
        public var repetitions: Int

        public init(rounds: Int = 10, repetitions: Int = 10) {
            self.rounds = rounds
            self.repetitions = repetitions
        }
    }

    private struct Cell {
        let model: String
        let units: ComputeUnits
        let labels: BenchmarkReport.Labels
        var load = 0.0
        var first = 0.0
        var rounds: [[Figures.Sample]] = []
        var peak = 0
        var baseline: Int?
        var defender: CoreMLDefender?
        var failure: (any Error)?

        var result: Result<Figures, any Error> {
            if let failure { return .failure(failure) }
            guard !rounds.isEmpty else { return .failure(CancellationError()) }
            return .success(
                Figures(
                    load: load, first: first, rounds: rounds,
                    memoryBytes: baseline.map { max(peak - $0, 0) }))
        }
    }

    private let library: ModelLibrary

    public init(library: ModelLibrary) {
        self.library = library
    }

    /// Measures; when the task is cancelled, the report says so and has what there was.
    ///
    /// - Parameter progress: told the share that is done, 0...1.
    public func run(
        _ options: Options, progress: @Sendable (Double) -> Void
    ) async throws -> BenchmarkReport {
        let created = Date().formatted(.iso8601)
        let thermal = Device.thermalState
        var cells = try await planned()
        var note: String?
        do {
            for index in cells.indices { try await open(&cells[index]) }
            for round in 0..<options.rounds {
                let order = Array(cells.indices)
                for index in round % 2 == 0 ? order : order.reversed() {
                    try await measure(&cells[index], options.repetitions)
                }
                progress(Double(round + 1) / Double(options.rounds))
            }
        } catch is CancellationError {
            note = "stopped by the user"
        }
        let run = BenchmarkReport.Run(
            created: created,
            machine: Device.machine(thermal: [thermal, Device.thermalState]),
            cells: cells.map { BenchmarkReport.Cell(labels: $0.labels, result: $0.result) },
            complete: note == nil, note: note)
        return BenchmarkReport(runs: [run])
    }

    private func planned() async throws -> [Cell] {
        var cells = [Cell]()
        for name in await library.names() {
            let package = try await library.package(name)
            for units in ComputeUnits.allCases {
                cells.append(
                    Cell(
                        model: name, units: units,
                        labels: BenchmarkReport.Labels(
                            metadata: package.metadata, file: package.url.lastPathComponent,
                            sizeBytes: try package.sizeBytes(),
                            runtime: "Core ML, \(Device.system)", kernels: units.name)))
            }
        }
        guard !cells.isEmpty else { throw RIDError.modelMissing("*.mlpackage") }
        return cells
    }

    private func open(_ cell: inout Cell) async throws {
        let clock = ContinuousClock()
        cell.baseline = Memory.footprint
        do {
            let begin = clock.now
            let defender = try await library.open(cell.model, on: cell.units)
            cell.load = (clock.now - begin).seconds
            cell.first = try await defender.timedPerturb(Self.tile(for: defender)).seconds.network
            cell.defender = defender
            cell.peak = Memory.footprint ?? 0
        } catch let error as CancellationError {
            throw error
        } catch {
            cell.failure = error
        }
    }

    private func measure(_ cell: inout Cell, _ count: Int) async throws {
        guard let defender = cell.defender, cell.failure == nil else { return }
        do {
            let tile = Self.tile(for: defender)
            // The first after another cell's turn is not counted.
            _ = try await defender.timedPerturb(tile)
            var samples = [Figures.Sample]()
            for _ in 0..<count {
                try Task.checkCancellation()
                samples.append(try await defender.timedPerturb(tile).seconds)
            }
            cell.rounds.append(samples)
            cell.peak = max(cell.peak, Memory.footprint ?? 0)
        } catch let error as CancellationError {
            throw error
        } catch {
            cell.failure = error
        }
    }

    /// Something to compute on; time does not depend on it.
    private static func tile(for defender: CoreMLDefender) -> FloatImage {
        FloatImage(height: defender.side, width: defender.side)
    }
}
