import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;
import org.jetbrains.org.objectweb.asm.ClassReader;
import org.jetbrains.org.objectweb.asm.ClassVisitor;
import org.jetbrains.org.objectweb.asm.ClassWriter;
import org.jetbrains.org.objectweb.asm.MethodVisitor;
import org.jetbrains.org.objectweb.asm.Opcodes;

/** Copies an old android.jar and adds the members that api-additions.txt lists. No code is kept. */
public final class ApiAdditions {
    /** A member to add; {@code extra} is a constant, a generic signature, "static", or null. */
    private record Member(String name, String descriptor, String extra) {
        boolean isMethod() {
            return descriptor.startsWith("(");
        }

        boolean isStatic() {
            return !isMethod() && extra != null;
        }

        Object constant() {
            if (!isStatic() || extra.equals("static")) return null;
            return descriptor.equals("I") ? (Object) Integer.valueOf(extra) : extra;
        }
    }

    public static void main(String[] arguments) throws IOException {
        Map<String, List<Member>> additions = read(Path.of(arguments[1]));
        try (ZipFile old = new ZipFile(arguments[0]);
                OutputStream file = Files.newOutputStream(Path.of(arguments[2]));
                ZipOutputStream result = new ZipOutputStream(file)) {
            for (ZipEntry entry : Collections.list(old.entries())) {
                String name = entry.getName();
                if (!name.endsWith(".class")) continue;
                byte[] code = old.getInputStream(entry).readAllBytes();
                List<Member> members = additions.remove(name.substring(0, name.length() - ".class".length()));
                result.putNextEntry(new ZipEntry(name));
                result.write(members == null ? code : extend(code, members));
            }
        }
        if (!additions.isEmpty()) throw new IllegalStateException("no such classes: " + additions.keySet());
    }

    private static Map<String, List<Member>> read(Path list) throws IOException {
        Map<String, List<Member>> additions = new HashMap<>();
        for (String line : Files.readAllLines(list)) {
            String[] words = line.trim().split("\\s+");
            if (line.startsWith("#") || words.length < 4) continue;
            Member member = new Member(words[2], words[3], words.length > 4 ? words[4] : null);
            additions.computeIfAbsent(words[0], key -> new ArrayList<>()).add(member);
        }
        return additions;
    }

    private static byte[] extend(byte[] code, List<Member> members) {
        ClassWriter writer = new ClassWriter(0);
        new ClassReader(code).accept(new Replacing(writer, members), ClassReader.SKIP_CODE);
        for (Member member : members) {
            if (member.isMethod()) {
                int access = Opcodes.ACC_PUBLIC | Opcodes.ACC_NATIVE;
                writer.visitMethod(access, member.name, member.descriptor, member.extra, null).visitEnd();
            } else {
                int access = Opcodes.ACC_PUBLIC | (member.isStatic() ? Opcodes.ACC_STATIC | Opcodes.ACC_FINAL : 0);
                writer.visitField(access, member.name, member.descriptor, null, member.constant()).visitEnd();
            }
        }
        writer.visitEnd();
        return writer.toByteArray();
    }

    /** Leaves out methods that an addition takes the place of. */
    private static final class Replacing extends ClassVisitor {
        private final List<Member> members;

        Replacing(ClassVisitor next, List<Member> members) {
            super(Opcodes.ASM9, next);
            this.members = members;
        }

        @Override
        public MethodVisitor visitMethod(int access, String name, String descriptor, String signature, String[] thrown) {
            boolean replaced = members.stream().anyMatch(m -> m.name.equals(name) && m.descriptor.equals(descriptor));
            return replaced ? null : super.visitMethod(access, name, descriptor, signature, thrown);
        }
    }
}
