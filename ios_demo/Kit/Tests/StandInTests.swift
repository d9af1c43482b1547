import CoreML
@preconcurrency import CoreVideo
import RIDCore
@testable import RIDKit
@testable import RIDTestSupport
import XCTest

/// The Kit's own code, run on the stand-ins of Stubs/: pixel buffers with padded rows, a delta with
/// gaps between its rows, and a "model" that computes the formula of the golden vectors. They say
/// nothing of Core ML; `CoreMLTests` does, on a Mac.
final class StandInTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "")

    override func setUpWithError() throws {
        #if !os(Linux)
        throw XCTSkip("the real frameworks are here: see CoreMLTests")
        #endif
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    override func tearDown() {
        try? FileManager.default.removeItem(at: folder)
    }

    /// Golden photos in pixel buffers. The network gets 8 bits and answers in half floats, so a
    /// value may be a level off.
    func testGoldenPhotosInPixelBuffers() async throws {
        let library = try library()
        let ladder = try await library.ladder("rid-s")
        for item in try Golden.photo().protect {
            let image = FloatImage(nested: item.image)
            let buffer = try CVPixelBuffer.make(width: image.width, height: image.height)
            try buffer.withPixels { image.write(to: $0) }
            let budget = try Budget(levels: item.levels, strength: item.strength)
            let verdict = try await Protection.protect(buffer, with: ladder, budget: budget)
            XCTAssertTrue(verdict.within)
            let protected = try buffer.withPixels {
                FloatImage(resampling: $0, height: image.height, width: image.width)
            }
            let expected = FloatImage(nested: item.protected)
            let steps = zip(protected.values, expected.values).map { abs($0 - $1) }
            XCTAssertLessThanOrEqual(steps.max() ?? .infinity, 1)
            let equal = Double(steps.filter { $0 == 0 }.count) / Double(steps.count)
            XCTAssertGreaterThan(equal, 0.97, "\(image.width) x \(image.height)")
        }
    }

    /// A tile of whole levels loses nothing but the precision of half floats.
    func testATile() async throws {
        let defender = try await library().open("rid-s", on: .cpu)
        XCTAssertEqual(defender.engine, "Core ML, CPU")
        var tile = FloatImage(height: 16, width: 16)
        for index in tile.values.indices { tile.values[index] = Float(index % 256) / 255 }
        let (unit, seconds) = try await defender.timedPerturb(tile)
        let expected = try await Formula(side: 16).perturb(tile)
        XCTAssertLessThan(unit.distance(to: expected), 0.001)
        XCTAssertGreaterThan(seconds.network, 0)
        let buffer = try CVPixelBuffer.make(width: 16, height: 16)
        let answer = try await defender.protected(buffer)
        XCTAssertEqual(CVPixelBufferGetWidth(answer), 16)
        do {
            _ = try await defender.protected(CVPixelBuffer.make(width: 17, height: 16))
            XCTFail("it took another size")
        } catch {
            guard case .wrongSize = error as? RIDError else { return XCTFail("\(error)") }
        }
    }

    func testAnotherPixelFormatIsRefused() throws {
        var buffer: CVPixelBuffer?
        XCTAssertEqual(CVPixelBufferCreate(nil, 4, 4, 0x3432_3066, nil, &buffer), 0)
        XCTAssertThrowsError(try XCTUnwrap(buffer).withPixels { _ in })
    }

    /// No Neural Engine: the CPU takes over, and says so.
    func testTheCPUTakesOver() async throws {
        let library = try library(noNeuralEngine: true)
        let ladder = try await library.ladder("rid-s")
        let (engine, notes) = (await ladder.engine, await ladder.notes)
        XCTAssertEqual(engine, "Core ML, CPU")
        XCTAssertEqual(notes.count, 1)
        XCTAssertTrue(notes[0].hasPrefix("Core ML, CPU and Neural Engine failed"), notes[0])
    }

    func testTheModelToProtectWith() async throws {
        let library = try library()
        let name = try await library.preferredName()
        XCTAssertEqual(name, "rid-s")
        let empty = ModelLibrary(models: folder.appendingPathComponent("none"), cache: folder)
        do {
            _ = try await empty.preferredName()
            XCTFail("it found a model where there is none")
        } catch {
            XCTAssertEqual(error as? RIDError, .modelMissing("*.mlpackage"))
        }
    }

    func testModelsThatAreRefused() async throws {
        let library = try library()
        do {
            _ = try await library.ladder("rid-x")
            XCTFail("it opened what is not there")
        } catch {
            XCTAssertEqual(error as? RIDError, .modelMissing("rid-x.mlpackage"))
        }
        let weights = folder.appendingPathComponent(
            "rid-s.mlpackage/Data/com.apple.CoreML/weights/weight.bin")
        try Data([9]).write(to: weights)
        do {
            _ = try await library.ladder("rid-s")
            XCTFail("it opened a damaged package")
        } catch {
            guard case .modelDamaged = error as? RIDError else { return XCTFail("\(error)") }
        }
    }

    func testBenchmark() async throws {
        let runner = BenchmarkRunner(library: try library(noNeuralEngine: true))
        let options = BenchmarkRunner.Options(rounds: 3, repetitions: 2)
        let report = try await runner.run(options) { _ in }
        let run = report.runs[0]
        XCTAssertTrue(run.complete)
        XCTAssertEqual(run.cells.map(\.labels.kernels), ComputeUnits.allCases.map(\.name))
        XCTAssertNotNil(run.cells[0].error)
        XCTAssertNil(run.cells[0].figures)
        for cell in run.cells.dropFirst() {
            XCTAssertEqual(cell.figures?.rounds.count, 3)
            XCTAssertEqual(cell.figures?.total.count, 6)
        }
        let stopped = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await runner.run(options) { _ in }
        }
        let partial = try await stopped.value
        XCTAssertFalse(partial.runs[0].complete)
        XCTAssertEqual(partial.runs[0].note, "stopped by the user")
    }

    private func library(noNeuralEngine: Bool = false) throws -> ModelLibrary {
        let package = try TestPackage.small(in: folder)
        if noNeuralEngine {
            try Data().write(to: package.appendingPathComponent("no-neural-engine"))
        }
        return ModelLibrary(models: folder, cache: folder.appendingPathComponent("cache"))
    }
}
