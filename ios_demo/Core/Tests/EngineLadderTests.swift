import RIDCore
import XCTest

final class EngineLadderTests: XCTestCase {
    private struct Failure: Error, LocalizedError {
        let errorDescription: String?
    }

    /// Works a number of times, then fails or answers NaN.
    private actor Tired: Defender {
        nonisolated let side = 4
        nonisolated let levels = 8
        nonisolated let engine: String
        private var runsLeft: Int
        private let answersNaN: Bool

        init(_ engine: String, runs: Int, answersNaN: Bool = false) {
            self.engine = engine
            runsLeft = runs
            self.answersNaN = answersNaN
        }

        func perturb(_ tile: FloatImage) async throws -> FloatImage {
            runsLeft -= 1
            guard runsLeft < 0 else { return tile }
            guard answersNaN else { throw Failure(errorDescription: "too hot") }
            var unit = tile
            unit.values[0] = .nan
            return unit
        }
    }

    private let tile = FloatImage(height: 4, width: 4)

    private func rung(_ defender: Tired) -> EngineLadder.Rung {
        EngineLadder.Rung(name: defender.engine) { defender }
    }

    func testTheFirstThatWorks() async throws {
        let ladder = try await EngineLadder(rungs: [
            EngineLadder.Rung(name: "npu") { throw Failure(errorDescription: "not there") },
            rung(Tired("gpu", runs: 0, answersNaN: true)),
            rung(Tired("cpu", runs: 100)),
        ])
        let engine = await ladder.engine
        XCTAssertEqual(engine, "cpu")
        let notes = await ladder.notes
        XCTAssertEqual(notes.count, 2)
        XCTAssertEqual(notes.first, "npu failed: not there")
        XCTAssertEqual(ladder.side, 4)
    }

    /// Both calls find the failure, one step down is taken, and both get their answer.
    func testAFailureOnTheWay() async throws {
        let ladder = try await EngineLadder(rungs: [
            rung(Tired("npu", runs: 2)), rung(Tired("cpu", runs: 100)),
        ])
        let tile = tile
        _ = try await ladder.perturb(tile)
        async let one = ladder.perturb(tile)
        async let two = ladder.perturb(tile)
        let answers = try await [one, two]
        XCTAssertEqual(answers, [tile, tile])
        let (engine, notes) = (await ladder.engine, await ladder.notes)
        XCTAssertEqual(engine, "cpu")
        XCTAssertEqual(notes, ["npu failed: too hot"])
    }

    func testNothingWorks() async throws {
        let ladder = try await EngineLadder(rungs: [rung(Tired("cpu", runs: 1))])
        for _ in 0..<2 {
            do {
                _ = try await ladder.perturb(tile)
                XCTFail("it ran on nothing")
            } catch {
                guard case .engineFailed = error as? RIDError else { return XCTFail("\(error)") }
            }
        }
    }
}
