/// Runs a network on the first engine that can, and falls to the next when one fails.
///
/// An engine may refuse to load, fail at its first run, or fail later, when the phone is hot or
/// memory is short. Every step down is remembered in words, for the screen.
public actor EngineLadder: Defender {
    /// A way to run the network: its name for people, and what opens it.
    public struct Rung: Sendable {
        public let name: String
        public let open: @Sendable () async throws -> any Defender

        public init(name: String, open: @escaping @Sendable () async throws -> any Defender) {
            self.name = name
            self.open = open
        }
    }

    public nonisolated let side: Int
    public nonisolated let levels: Int
    /// What failed so far, one line each.
    public private(set) var notes: [String] = []

    private var rungs: ArraySlice<Rung>
    private var current: any Defender
    private var steps = 0
    private var descent: Task<Landing, any Error>?

    /// Where a descent ended.
    private struct Landing: Sendable {
        let defender: any Defender
        let rungsLeft: ArraySlice<Rung>
        let notes: [String]
    }

    /// Opens the first engine that loads and survives a warm-up run.
    ///
    /// - Parameter rungs: best first.
    /// - Throws: `RIDError.engineFailed` if none does, `CancellationError`.
    public init(rungs: [Rung]) async throws {
        let landing = try await Self.descend(rungs[...])
        self.rungs = landing.rungsLeft
        notes = landing.notes
        current = landing.defender
        side = landing.defender.side
        levels = landing.defender.levels
    }

    public var engine: String {
        get async { await current.engine }
    }

    public func perturb(_ tile: FloatImage) async throws -> FloatImage {
        while true {
            let (used, step) = (current, steps)
            do {
                return try await Self.run(used, tile)
            } catch let error as CancellationError {
                throw error
            } catch {
                try await stepDown(from: step, because: Self.line(await used.engine, error))
            }
        }
    }

    /// Leaves the engine of a step, once, however many calls found that it fails.
    private func stepDown(from step: Int, because reason: String) async throws {
        guard steps == step else { return }
        let left = rungs
        let task = descent ?? Task { try await Self.descend(left) }
        descent = task
        // Where nothing is left below, this fails now and for every later call.
        let landing = try await task.value
        guard steps == step else { return }
        steps += 1
        descent = nil
        notes += [reason] + landing.notes
        rungs = landing.rungsLeft
        current = landing.defender
    }

    private static func descend(_ rungs: ArraySlice<Rung>) async throws -> Landing {
        var left = rungs
        var notes = [String]()
        while let rung = left.popFirst() {
            do {
                let defender = try await rung.open()
                let side = defender.side
                let grey = [Float](repeating: 0.5, count: 3 * side * side)
                _ = try await run(defender, FloatImage(height: side, width: side, values: grey))
                return Landing(defender: defender, rungsLeft: left, notes: notes)
            } catch let error as CancellationError {
                throw error
            } catch {
                notes.append(line(rung.name, error))
            }
        }
        throw RIDError.engineFailed(notes.last ?? "no compute unit is left to try")
    }

    /// One run, held against what a perturbation is: an overflow in 16-bit floats gives NaN.
    private static func run(
        _ defender: any Defender, _ tile: FloatImage
    ) async throws -> FloatImage {
        let unit = try await defender.perturb(tile)
        guard unit.values.count == tile.values.count, unit.values.allSatisfy(\.isFinite) else {
            throw RIDError.notAPerturbation(engine: await defender.engine)
        }
        return unit
    }

    private static func line(_ name: String, _ error: any Error) -> String {
        "\(name) failed: \(error.localizedDescription)"
    }
}
