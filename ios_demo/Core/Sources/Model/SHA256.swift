/// SHA-256 (FIPS 180-4), a piece at a time. In Swift, so that a digest can be held against the
/// model wherever this package builds; 2 MB take some milliseconds.
public struct SHA256 {
    private var state: [UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a,
        0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
    private var schedule = [UInt32](repeating: 0, count: 64)
    private var pending = [UInt8]()
    private var length: UInt64 = 0

    public init() {}

    /// The digest of some bytes, 64 hexadecimal digits.
    public static func hex(_ bytes: some Collection<UInt8>) -> String {
        var digest = SHA256()
        digest.update(bytes)
        return digest.finish()
    }

    public mutating func update(_ bytes: some Collection<UInt8>) {
        length += UInt64(bytes.count)
        pending.append(contentsOf: bytes)
        var start = 0
        while pending.count - start >= 64 {
            compress(at: start)
            start += 64
        }
        pending.removeFirst(start)
    }

    /// Ends the message.
    ///
    /// - Returns: 64 hexadecimal digits.
    public mutating func finish() -> String {
        let bits = length * 8
        pending.append(0x80)
        let zeros = (120 - pending.count % 64) % 64
        pending.append(contentsOf: [UInt8](repeating: 0, count: zeros))
        for shift in stride(from: 56, through: 0, by: -8) {
            pending.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
        }
        for start in stride(from: 0, to: pending.count, by: 64) { compress(at: start) }
        return state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    private mutating func compress(at start: Int) {
        for index in 0..<16 {
            let at = start + 4 * index
            schedule[index] =
                UInt32(pending[at]) << 24 | UInt32(pending[at + 1]) << 16
                | UInt32(pending[at + 2]) << 8 | UInt32(pending[at + 3])
        }
        for index in 16..<64 {
            let (early, late) = (schedule[index - 15], schedule[index - 2])
            let small = rotate(early, 7) ^ rotate(early, 18) ^ early >> 3
            let large = rotate(late, 17) ^ rotate(late, 19) ^ late >> 10
            schedule[index] = schedule[index - 16] &+ small &+ schedule[index - 7] &+ large
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let choice = e & f ^ ~e & g
            let upper = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
            let first = h &+ upper &+ choice &+ Self.constants[index] &+ schedule[index]
            let majority = a & b ^ a & c ^ b & c
            let lower = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
            (h, g, f, e) = (g, f, e, d &+ first)
            (d, c, b, a) = (c, b, a, first &+ lower &+ majority)
        }
        for (index, word) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= word }
    }

    @inline(__always)
    private func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 {
        word >> count | word << (32 - count)
    }

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    private static let constants: [UInt32] = primes(64).map { prime in
        // floor(cbrt(p) * 2^32) by bisection; its cube, up to 2^106, needs more than 64 bits.
        var (low, high): (UInt64, UInt64) = (0, 1 << 36)
        while high - low > 1 {
            let middle = (low + high) / 2
            if cubeIsAtMost(middle, prime) { low = middle } else { high = middle }
        }
        return UInt32(truncatingIfNeeded: low)
    }

    /// Whether `value^3 <= prime * 2^96`.
    private static func cubeIsAtMost(_ value: UInt64, _ prime: UInt64) -> Bool {
        let square = value.multipliedFullWidth(by: value)
        let low = square.low.multipliedFullWidth(by: value)
        let (middle, overflow) = low.high.addingReportingOverflow(square.high &* value)
        // value < 2^36, so the cube is below 2^108: `middle` holds its bits from 64 up.
        precondition(!overflow)
        return middle < prime << 32 || (middle == prime << 32 && low.low == 0)
    }

    private static func primes(_ count: Int) -> [UInt64] {
        var found = [UInt64]()
        var candidate: UInt64 = 2
        while found.count < count {
            if found.allSatisfy({ candidate % $0 != 0 }) { found.append(candidate) }
            candidate += 1
        }
        return found
    }
}
